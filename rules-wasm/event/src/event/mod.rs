//! The normalized event.

mod dry_run;
mod from_json;
mod identity;
mod normalized;

pub use normalized::{Asn, Event, LogType, ResponseStatus, Text};
