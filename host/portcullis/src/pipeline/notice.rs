//! What is told of a rule besides its verdict.

use crate::package::Package;
use crate::sandbox::Fault;

/// What an operator must hear of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A new version of it failed on this event, on which the one before did not, and has been rolled back: the verdict is
    /// that one's.
    RolledBack {
        /// The version that failed.
        package: Package,
        /// How.
        fault: Fault,
    },
    /// It is suspended: it will not be asked about this many of the events that concern it, or for so many minutes of their
    /// time, whichever ends first, and then be tried again.
    Suspended {
        /// How many events.
        events: u64,
        /// How many minutes.
        minutes: i64,
    },
    /// It was tried again, and answered.
    Resumed,
    /// It has matched once more often than it may alert in the event's minute; what it matches further in that minute is a
    /// fault without a notice.
    AlertsUsedUp,
}
