//! Records in, verdicts out, and an account of both.

mod accounting;
mod judge;
mod ledger;

pub use accounting::{Accounting, RuleAccounting};
pub use judge::{DEFAULT_TENANT, Judge, Judgement, RuleVerdict, Verdict};
pub use ledger::{ledger_line, reject_line};
