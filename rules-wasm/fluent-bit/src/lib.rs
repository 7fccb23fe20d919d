//! Both rules as a filter for Fluent Bit. Adds the alerts to a record that matches, in a member `portcullis`, and
//! returns every other record unchanged.

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "Fluent Bit passes addresses, and calls functions by name")]
mod abi;
#[cfg(any(test, target_arch = "wasm32"))]
mod format;
#[cfg(any(test, target_arch = "wasm32"))]
mod numbers;
