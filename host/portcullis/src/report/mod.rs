//! Reports about judged records: the lines to write, and the operator's notifications.

mod notifier;
mod outcomes;
mod record;

pub use notifier::{Level, Notification, Notifier, is_notified};
pub use outcomes::{BlindRule, Outcomes, WarningState, client_entry};
pub use record::{Origin, RecordReport, ReportOptions, judge_record};
