//! From a record to its event: recognizing the record's kind, and reading its fields.

mod audit;
mod azure;
mod buffers;
mod category;
mod enrichment;
mod google;
mod hints;
mod kind;
mod malformed;
mod normalize;
mod object;
mod outcome;
mod rejection;
mod tables;
mod writer;

pub use buffers::Buffers;
pub use normalize::{Envelope, normalize, normalize_as, normalize_or_read};
pub use outcome::{Ignored, Outcome, Rejected};

pub(crate) use normalize::{normalize_value, of_cut};
