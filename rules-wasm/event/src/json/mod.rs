//! Reading JSON that its writer may have got wrong: a value is looked at only where it is wanted, and one of another
//! type than expected is [`Malformed`](Read::Malformed), never an error that would lose the record.
//!
//! Nothing here recurses: what is skipped or kept raw may be nested as deep as its writer liked.

pub(crate) mod cut;
pub(crate) mod escape;
mod members;
pub(crate) mod names;
pub(crate) mod value;

pub use escape::is_written_as_it_is;
pub use members::*;
