//! The search for records in envelopes.
//!
//! Log shippers, queues and clouds put records into objects, lists, texts or base64, or after a prefix, in any order.
//! The search knows none of them by name: it searches everything that is no record.
//!
//! A record itself is never searched, so text that a client put into one cannot become a record. The time of a search
//! is proportional to the document's length, and it goes at most [`MAX_DEPTH`] steps deep.

mod around;
mod budget;
mod list;
mod otlp;
mod output;
mod path;
mod search;
mod seen;
mod signs;
mod text;

pub use around::MAX_DEPTH;
pub use output::Each;
pub use path::Path;
pub use search::{Decode, Decoded, Search};
pub use signs::{LISTS, is_audit_list};
pub use text::behind_prefix;
