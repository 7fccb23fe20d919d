//! Records inside of whatever carries them.

mod otlp;
mod path;
mod search;
mod text;

pub use path::Path;
pub use search::{Decode, Decoded, Each, MAX_DEPTH, Search, behind_prefix, is_audit_list};
