//! Records in, verdicts out, and an account of both.

mod accounting;
mod judge;
mod ledger;
mod lines;

pub use accounting::{Accounting, RuleAccounting};
pub use judge::{DEFAULT_TENANT, Judge, Judgement, MAX_RECORD, Rejection, RuleVerdict, Verdict};
pub use ledger::{ledger_line, reject_line};
pub use lines::{BYTE_ORDER_MARK, Line, Lines};
