//! Bytes in, records out: decompression, documents, and the wrappings that clouds put records into.
//!
//! ```
//! use portcullis::read::{Documents, Records, decompressed};
//! use portcullis_event::Outcome;
//!
//! # fn main() -> std::io::Result<()> {
//! let input = br#"{"kind":"EventList","items":[{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"get"},5]}"#;
//! let mut documents = Documents::new(decompressed(Box::new(&input[..]))?);
//! let mut records = Records::default();
//! let mut seen = Vec::new();
//! while let Some(document) = documents.next_document()? {
//!     records.for_each(&document, &mut |record, outcome| {
//!         seen.push((record.place.to_string(), matches!(outcome, Outcome::Evaluated(_))));
//!         Ok::<(), std::io::Error>(())
//!     })?;
//! }
//! assert_eq!(seen, [("1 items[0]".to_owned(), true), ("1 items[1]".to_owned(), false)]);
//! # Ok(())
//! # }
//! ```

mod cloudwatch;
mod compression;
mod documents;
mod place;
mod scanner;
mod window;
mod wrapping;

pub use compression::{decompressed, is_compressed};
pub use documents::{Document, Documents, Item, MAX_RECORD};
pub use place::Place;
pub use wrapping::{Record, Records};
