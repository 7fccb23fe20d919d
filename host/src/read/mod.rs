//! Bytes in, records out: decompression, documents, and the wrappings that clouds put records into.

mod cloudwatch;
mod compression;
mod documents;
mod place;
mod scanner;
mod window;
mod wrapping;

pub use compression::decompressed;
pub use documents::{Document, Documents, Item, MAX_RECORD};
pub use place::Place;
pub use wrapping::{Record, Records};
