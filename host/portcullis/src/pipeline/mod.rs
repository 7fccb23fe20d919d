//! Judges records: verdicts, notices, and the account of both.

mod accounting;
mod active_rule;
mod alert_budget;
mod blind;
mod builder;
mod claims;
mod judge;
mod ledger;
mod notice;
mod shadows;
mod shared;
mod suspension;
mod tenants;
mod threads;
mod times;
mod verdicts;

pub use accounting::{Accounting, RuleAccounting};
pub use blind::Blind;
pub use builder::{DEFAULT_TENANT, JudgeBuilder};
pub use claims::{Claim, FieldPath, Unclaimed};
pub use judge::{AlertCost, Judge};
pub use ledger::{LedgerLine, LedgerMembers, MAX_KEPT, ledger_line, reject_line, shortened};
pub use notice::Notice;
pub use tenants::{Judged, Tenants};
pub use threads::{AbortOnPanic, threads};
pub use times::Times;
pub use verdicts::{Judgement, RuleVerdict, Verdict, Verdicts};
