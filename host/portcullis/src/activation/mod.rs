//! How versions of rules come to be active, and cease to be: the store that they lie in, what a tenant wants of it, what a
//! candidate must show first, and what is written down about it.
//!
//! Nothing here is on the way of an event. An [`Activator`] looks at the files, proves candidates and publishes rule sets;
//! who judges takes them up between two events.

mod activator;
mod following;
mod history;
mod listing;
mod missing;
mod policy;
mod published;
mod recorder;
mod reports;
mod rule_state;
mod shadows;
mod store;
mod watch;

pub use activator::Activator;
pub use history::{Action, Entry, History, HistoryError, Past, TestCounts};
pub use listing::{Listed, VersionState};
pub use policy::{Activate, Pin, Policy};
pub use published::PublishedFolder;
pub use recorder::{ActivationError, News, Proof};
pub use watch::{Control, Reload, Watched};
