//! The normalized event: the only form in which rules see an audit record, whichever cloud wrote it.

mod dry_run;
mod from_json;
mod identity;
mod normalized;
#[cfg(test)]
mod schema;

pub use normalized::{Asn, Event, LogType, ResponseStatus};
