//! Activates versions of rules: the store with the packages, a tenant's policy, the checks of candidates, and the
//! history.
//!
//! Nothing here is in the path of events. An [`Activator`] reads the files, checks candidates and publishes rule sets.
//! Judges switch to a new rule set between two events.

mod activator;
mod candidate_check;
mod checks;
mod entry;
mod followed_files;
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
mod tenant_rules;
mod watch;

pub use activator::Activator;
pub use entry::{Action, Entry, TestCounts};
pub use followed_files::FollowedFiles;
pub use history::{History, HistoryError, RuleHistory};
pub use listing::{ListedPackage, VersionState};
pub use policy::{Activate, Pin, Policy};
pub use published::PublishedFolder;
pub use recorder::{ActivationError, ActivationNotice, RequiredChecks};
pub use watch::{Control, Reload, Unfinished};
