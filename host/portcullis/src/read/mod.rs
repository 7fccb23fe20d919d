//! Reads records from bytes: decompression, documents, and the envelopes around records.
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

mod compression;
mod decode;
mod documents;
mod place;
mod records;
mod scanner;
mod suspect;
mod window;

pub use compression::{decompressed, decompressed_at_most, is_compressed, is_too_large};
pub use documents::{Document, Documents, Item, MAX_RECORD};
pub use place::Place;
pub use records::{Record, Records};
