//! From a record to its event.

mod audit;
mod enrichment;
mod google;
mod hints;
mod normalize;
mod outcome;
mod tables;

pub use normalize::{Buffers, LISTS, normalize, normalize_as};
pub use outcome::{Ignored, Outcome, Rejected};
