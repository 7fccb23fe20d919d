//! Both rules as a filter for Fluent Bit: a record that matches says so in a member `portcullis`, any other goes on as it
//! came.

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "Fluent Bit hands over addresses, and calls functions by their names")]
mod abi;
