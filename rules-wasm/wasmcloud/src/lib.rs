//! A component for wasmCloud: each message is a record, and each alert becomes a message on another subject.

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated code that passes values across the boundary")]
mod component;
