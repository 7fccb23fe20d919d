//! The check of a candidate, which it must pass before it judges anything.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::entry::TestCounts;
use super::recorder::RequiredChecks;
use super::rule_state::{RETRY_AFTER, RefusalKind};
use super::store::Store;
use crate::limits::Limits;
use crate::package::{Candidate, Package, one_line};
use crate::test_cases;

/// A candidate that has passed its checks.
pub(super) struct Checked {
    pub(super) package: Package,
    pub(super) test_cases: TestCounts,
}

/// The reason why a candidate failed its checks.
pub(super) struct CheckFailure {
    pub(super) reason: String,
    pub(super) kind: RefusalKind,
    pub(super) test_cases: Option<TestCounts>,
}

/// CPU time that the test cases of a candidate may take. Other candidates wait for it.
pub(super) const TEST_CASES_TIME: Duration = Duration::from_secs(10);

/// Checks a candidate: its signature, the gate, the compiler, and its test cases under a tenant's limits.
pub(super) fn check(
    candidate: &Arc<Candidate>,
    store: &mut Store,
    limits: Limits,
    checks: RequiredChecks,
    clock: fn() -> Timestamp,
) -> Result<Checked, CheckFailure> {
    let package = store.compile(candidate).map_err(|error| {
        let again = error.is_transient().then(|| clock() + RETRY_AFTER);
        CheckFailure {
            reason: error.reason(),
            kind: again.map_or(RefusalKind::Failed, RefusalKind::RetryAt),
            test_cases: None,
        }
    })?;
    if checks == RequiredChecks::WithoutTestCases {
        return Ok(Checked { package, test_cases: TestCounts { passed: 0, failed: 0 } });
    }
    if let Some(passed) = store.compiler.passed(&package, &limits) {
        return Ok(Checked { package, test_cases: TestCounts { passed, failed: 0 } });
    }
    let Some(results) = test_cases::run_within(&package, limits, TEST_CASES_TIME, |_| true) else {
        let seconds = TEST_CASES_TIME.as_secs();
        let reason = format!("its test cases take more than {seconds} s of CPU time; use fewer or cheaper ones");
        return Err(CheckFailure { reason, kind: RefusalKind::Failed, test_cases: None });
    };
    let failed: Vec<_> = results.iter().filter(|result| !result.passed()).collect();
    let test_cases = TestCounts { passed: results.len() - failed.len(), failed: failed.len() };
    match failed.first() {
        None => {
            store.compiler.note_passed(&package, &limits, test_cases.passed);
            Ok(Checked { package, test_cases })
        }
        Some(first) => {
            let reason = format!(
                "{} of its {} test cases fail; {:?}: expected {}, found {}",
                failed.len(),
                results.len(),
                first.name,
                first.expectation(),
                first.found()
            );
            Err(CheckFailure { reason: one_line(&reason), kind: RefusalKind::Failed, test_cases: Some(test_cases) })
        }
    }
}
