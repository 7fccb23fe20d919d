//! Reports about judged records: what is written about each, and what an operator is notified of.

mod notifier;
mod outcomes;
mod record;

pub use notifier::{Level, Notification, Notifier, is_news};
pub use outcomes::{BlindRule, Outcomes, Warned, of_client};
pub use record::{Origin, RecordReport, ReportOptions, judge_record};
