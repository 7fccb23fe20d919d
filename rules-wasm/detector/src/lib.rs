//! Implements the world `detector` of `wit/detector.wit`: a component that turns a raw record into its alerts, and
//! imports nothing.

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated code that passes values across the boundary")]
mod component;
