//! A component for wasmCloud: a message is a record, and each of its alerts a message on another subject.

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "what is generated there to pass values over")]
mod component;
