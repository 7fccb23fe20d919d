//! Records in, verdicts out, and an account of both.

mod accounting;
mod alert_budget;
mod claims;
mod judge;
mod ledger;
mod suspension;
mod tenants;

pub use accounting::{Accounting, RuleAccounting};
pub use claims::{Claim, FieldPath, Unowned};
pub use judge::{DEFAULT_TENANT, Judge, Judgement, RuleVerdict, Verdict};
pub use ledger::{Owner, ledger_line, reject_line};
pub use suspension::Notice;
pub use tenants::{Judged, Tenants};
