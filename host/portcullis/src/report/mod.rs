//! Reports about judged records: the lines to write, and the operator's notifications.

mod notifier;
mod outcomes;
mod record;

pub use notifier::{Level, Notification, Notifier, is_news};
pub use outcomes::{BlindRule, Outcomes, Warned, of_client};
pub use record::{Origin, RecordReport, ReportOptions, judge_record};
