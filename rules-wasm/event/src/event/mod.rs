//! The normalized event.

mod dry_run;
mod from_json;
mod identity;
mod normalized;
#[cfg(test)]
mod schema;

pub use normalized::{Asn, Event, LogType, ResponseStatus};
