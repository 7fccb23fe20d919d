//! The world `detector` of `wit/detector.wit`: from a raw record to its alerts, in a component that imports nothing.

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "what is generated there to pass values over")]
mod component;
