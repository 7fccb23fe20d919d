//! Changes of a rule's state that come with a verdict.

use crate::package::Package;
use crate::sandbox::Fault;

/// A change of a rule's state of which the operator must know.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A new version failed on this event, and its predecessor did not. The new version was rolled back; the verdict is
    /// the predecessor's.
    RolledBack {
        /// The version that failed.
        package: Package,
        /// The failure.
        fault: Fault,
    },
    /// The rule is suspended: it is not called for this number of its events, or for this number of minutes of event
    /// time, whichever ends first. Then it is tried again.
    Suspended {
        /// Number of events.
        events: u64,
        /// Number of minutes.
        minutes: i64,
    },
    /// The rule was tried again, and answered.
    SuspensionEnded,
    /// The rule has used up its alerts for the event's minute. Further matches in that minute are faults without a
    /// notice.
    AlertsUsedUp,
    /// The tenant's alerts have used up their bytes in a batch. Further matches in it are faults without a notice.
    AlertBytesUsedUp,
}
