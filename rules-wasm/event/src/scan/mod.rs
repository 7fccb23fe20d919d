//! Where everything stands in a JSON text.

pub(crate) mod block;
#[cfg(not(target_arch = "wasm32"))]
mod compact;
mod grammar;
pub(crate) mod scalar;
mod strings;
pub(crate) mod tokens;
