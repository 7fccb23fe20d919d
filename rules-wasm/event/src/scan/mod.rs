//! One pass over a JSON text that validates it and finds its tokens, so that any value is found later without reading
//! the text again.
//!
//! The method is simdjson's (Langdale and Lemire, "Parsing Gigabytes of JSON per Second", 2019): quotes and brackets
//! are found in blocks of 64 bytes, as bits and without a branch for each. The bits also validate a text without white
//! space between its tokens, which is how clouds write JSON (`compact`). Any other text is validated token by token
//! (`grammar`). Nothing here recurses: nesting costs memory, but no stack.

mod block;
mod block_tokens;
#[cfg(not(target_arch = "wasm32"))]
mod compact;
mod containers;
mod escapes;
mod grammar;
mod scalar;
mod skip;
mod strings;
mod tokens;

pub use block::places_of;
pub(crate) use block::{BLOCK, LOW, blocks, less, quotes_by_words};
pub(crate) use containers::short;
pub(crate) use escapes::Escapes;
pub(crate) use scalar::{is_scalar, is_space, scalar_length};
pub(crate) use skip::container_length;
pub(crate) use strings::is_escape;
pub(crate) use tokens::{Colons, Tokens};
