//! Runs the test cases of a spec. Each takes the path of a live record: it is normalized, prefiltered, and judged in
//! the sandbox.

use std::sync::Arc;
use std::time::Duration;

use portcullis_event::{Buffers, Event, Outcome, normalize};

use crate::limits::Limits;
use crate::package::{Package, TestCase};
use crate::pipeline::{Judge, Verdict};
use crate::rule_set::RuleSet;
use crate::sandbox::thread_cpu_time;

/// The result of a test case.
#[derive(Debug)]
pub struct TestResult {
    /// Name of the test case.
    pub name: String,
    /// Whether the record should alert.
    pub expected: bool,
    /// The outcome.
    pub outcome: TestOutcome,
    /// The normalized event as JSON, if the record became an event.
    pub event: Option<String>,
}

/// The outcome of a test case.
#[derive(Debug)]
pub enum TestOutcome {
    /// The rule's verdict.
    Verdict(Verdict),
    /// The rule matches the event, but its prefilter hides the event from it.
    PrefilterHides,
    /// The rule does not subscribe to the record's log type.
    NotSubscribed,
    /// The record is not a Kubernetes audit event, for this reason.
    Ignored(String),
    /// The record cannot be read, for this reason: the test case itself is wrong.
    Rejected(String),
}

impl TestResult {
    /// Returns whether the outcome is the expected one. A fault never is.
    #[must_use]
    pub fn passed(&self) -> bool {
        match &self.outcome {
            TestOutcome::Verdict(Verdict::Alert(_) | Verdict::Excluded { .. }) => self.expected,
            TestOutcome::Verdict(Verdict::NoMatch | Verdict::Skipped)
            | TestOutcome::NotSubscribed
            | TestOutcome::Ignored(_) => !self.expected,
            TestOutcome::Verdict(Verdict::Fault(_)) | TestOutcome::PrefilterHides | TestOutcome::Rejected(_) => false,
        }
    }

    /// Returns the expected outcome as text.
    #[must_use]
    pub fn expectation(&self) -> &'static str {
        if self.expected { "an alert" } else { "no alert" }
    }

    /// Returns the outcome as text.
    #[must_use]
    pub fn found(&self) -> String {
        match &self.outcome {
            TestOutcome::Verdict(Verdict::Alert(alert) | Verdict::Excluded { alert, .. }) => {
                format!("an alert: {}", alert.title)
            }
            TestOutcome::Verdict(Verdict::NoMatch) => "no alert".to_owned(),
            TestOutcome::Verdict(Verdict::Skipped) => "no alert: the prefilter rules it out".to_owned(),
            TestOutcome::Verdict(Verdict::Fault(fault)) => format!("a fault: the rule {fault}"),
            TestOutcome::PrefilterHides => "an alert, which the rule's prefilter hides".to_owned(),
            TestOutcome::NotSubscribed => "no alert: the rule does not subscribe to the log type".to_owned(),
            TestOutcome::Ignored(reason) => format!("no alert: the record is ignored: {reason}"),
            TestOutcome::Rejected(reason) => format!("a rejected record: {reason}"),
        }
    }
}

/// Runs the test cases of a package that `wanted` selects. They are independent: no test case uses up the alert budget
/// or suspends the rule for the next one.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "a single package cannot conflict, and the time is not limited")]
pub fn run(package: &Package, limits: Limits, wanted: impl Fn(&TestCase) -> bool) -> Vec<TestResult> {
    run_within(package, limits, Duration::MAX, wanted).expect("the time is not limited")
}

/// Runs test cases like [`run`], or returns `None` if they take more than this CPU time.
pub(crate) fn run_within(
    package: &Package,
    limits: Limits,
    time: Duration,
    wanted: impl Fn(&TestCase) -> bool,
) -> Option<Vec<TestResult>> {
    let began = thread_cpu_time();
    let limits = Limits { alerts_per_minute: u32::MAX, suspend_after: 0, ..limits };
    let rules = Arc::new(RuleSet::new(vec![package.clone()]).expect("one package"));
    let mut judge = Judge::new(Arc::clone(&rules), limits);
    let mut without_prefilters = Judge::builder(limits).rules(rules).without_prefilters().build();
    let test_cases = package.spec().test_cases.iter().filter(|case| wanted(case));
    test_cases
        .map(|case| {
            if thread_cpu_time().saturating_sub(began) > time {
                return None;
            }
            let mut buffers = Buffers::default();
            let (outcome, event) = match normalize(case.record.as_bytes(), &mut buffers) {
                Outcome::Evaluated(event) => {
                    let outcome = match verdict(&mut judge, &event) {
                        TestOutcome::Verdict(Verdict::Skipped) => {
                            without_prefilter_outcome(verdict(&mut without_prefilters, &event))
                        }
                        outcome => outcome,
                    };
                    (outcome, Some(pretty(&event)))
                }
                Outcome::Ignored(ignored) => (TestOutcome::Ignored(ignored.to_string()), None),
                Outcome::Rejected(rejected) => (TestOutcome::Rejected(rejected.to_string()), None),
            };
            Some(TestResult { name: case.name.clone(), expected: case.expected, outcome, event })
        })
        .collect()
}

/// Returns the verdict of a judge that has one rule.
fn verdict(judge: &mut Judge, event: &Event<'_>) -> TestOutcome {
    let verdicts = judge.event(event);
    let is_subscribed = verdicts.all().next().is_some();
    match verdicts.into_judged().pop() {
        Some(judged) => TestOutcome::Verdict(judged.verdict),
        None if is_subscribed => TestOutcome::Verdict(Verdict::Skipped),
        None => TestOutcome::NotSubscribed,
    }
}

/// Returns the outcome of a test case that the prefilter skipped, given the outcome without the prefilter.
fn without_prefilter_outcome(judged: TestOutcome) -> TestOutcome {
    match judged {
        TestOutcome::Verdict(Verdict::Alert(_)) => TestOutcome::PrefilterHides,
        fault @ TestOutcome::Verdict(Verdict::Fault(_)) => fault,
        _ => TestOutcome::Verdict(Verdict::Skipped),
    }
}

/// Returns an event as indented JSON. If client data is nested more than 127 levels deep, it keeps its own layout.
#[must_use]
pub fn pretty(event: &Event<'_>) -> String {
    let whole = serde_json::to_value(event).and_then(|event| serde_json::to_string_pretty(&event));
    whole.or_else(|_| serde_json::to_string_pretty(event)).unwrap_or_default()
}
