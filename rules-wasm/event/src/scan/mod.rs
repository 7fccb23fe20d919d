//! Where everything stands in a JSON text.

mod block;
mod block_tokens;
#[cfg(not(target_arch = "wasm32"))]
mod compact;
mod containers;
mod escapes;
mod grammar;
mod scalar;
mod strings;
mod tokens;

pub(crate) use block::{BLOCK, LOW, blocks, quotes_by_words};
pub(crate) use containers::short;
pub(crate) use escapes::Escapes;
pub(crate) use scalar::{is_space, scalar_length};
pub(crate) use tokens::{Colons, Tokens};
