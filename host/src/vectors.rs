//! The test vectors of a spec, each on the way of a live record: normalized, prefiltered, judged in the sandbox.

use std::sync::Arc;

use portcullis_event::{Buffers, Event, Outcome, normalize};

use crate::package::Vector;
use crate::pipeline::{Judge, Verdict};
use crate::{Limits, Package, RuleSet};

/// How a vector went.
#[derive(Debug)]
pub struct VectorResult {
    /// The vector's name.
    pub name: String,
    /// Whether it should alert.
    pub expected: bool,
    /// What came out.
    pub outcome: VectorOutcome,
    /// The normalized event as JSON, if the record became one.
    pub event: Option<String>,
}

/// What came out of a vector.
#[derive(Debug)]
pub enum VectorOutcome {
    /// The rule's verdict.
    Verdict(Verdict),
    /// The prefilter keeps an event from the rule that the rule matches.
    PrefilterHides,
    /// The rule does not subscribe to the record's log type.
    NotSubscribed,
    /// The record is no Kubernetes audit event: why.
    Ignored(String),
    /// The record cannot be read, which no author of a vector means: why.
    Rejected(String),
}

impl VectorResult {
    /// Whether what came out is what was expected. A fault never is.
    #[must_use]
    pub fn passed(&self) -> bool {
        match &self.outcome {
            VectorOutcome::Verdict(Verdict::Alert(_) | Verdict::Excluded { .. }) => self.expected,
            VectorOutcome::Verdict(Verdict::NoMatch | Verdict::Skipped)
            | VectorOutcome::NotSubscribed
            | VectorOutcome::Ignored(_) => !self.expected,
            VectorOutcome::Verdict(Verdict::Fault(_)) | VectorOutcome::PrefilterHides | VectorOutcome::Rejected(_) => {
                false
            }
        }
    }

    /// What was expected, in words.
    #[must_use]
    pub fn expectation(&self) -> &'static str {
        if self.expected { "an alert" } else { "no alert" }
    }

    /// What came out, in words.
    #[must_use]
    pub fn found(&self) -> String {
        match &self.outcome {
            VectorOutcome::Verdict(Verdict::Alert(alert) | Verdict::Excluded { alert, .. }) => {
                format!("an alert: {}", alert.title)
            }
            VectorOutcome::Verdict(Verdict::NoMatch) => "no alert".to_owned(),
            VectorOutcome::Verdict(Verdict::Skipped) => "no alert: the prefilter rules it out".to_owned(),
            VectorOutcome::Verdict(Verdict::Fault(fault)) => format!("a fault: the rule {fault}"),
            VectorOutcome::PrefilterHides => "an alert, which the rule's prefilter hides".to_owned(),
            VectorOutcome::NotSubscribed => "no alert: the rule does not subscribe to the log type".to_owned(),
            VectorOutcome::Ignored(reason) => format!("no alert: the record is ignored: {reason}"),
            VectorOutcome::Rejected(reason) => format!("a record that is rejected: {reason}"),
        }
    }
}

/// Runs the vectors of a package whose names pass, each for itself: none uses up a budget of alerts, and none suspends the
/// rule for the next.
#[expect(clippy::missing_panics_doc, reason = "one package is no two of one rule")]
pub fn run(package: &Package, limits: Limits, wanted: impl Fn(&Vector) -> bool) -> Vec<VectorResult> {
    let limits = Limits { alerts_per_minute: u32::MAX, suspend_after: 0, ..limits };
    let rules = Arc::new(RuleSet::new(vec![package.clone()]).expect("one package"));
    let mut judge = Judge::new(Arc::clone(&rules), limits);
    let mut asking_always = Judge::new(rules, limits).without_prefilters();
    let vectors = package.spec().vectors.iter().filter(|vector| wanted(vector));
    vectors
        .map(|vector| {
            let record = vector.record.to_string();
            let mut buffers = Buffers::default();
            let (outcome, event) = match normalize(record.as_bytes(), &mut buffers) {
                Outcome::Evaluated(event) => {
                    let outcome = match verdict(&mut judge, &event) {
                        VectorOutcome::Verdict(Verdict::Skipped) => hidden(verdict(&mut asking_always, &event)),
                        outcome => outcome,
                    };
                    (outcome, Some(pretty(&event)))
                }
                Outcome::Ignored(ignored) => (VectorOutcome::Ignored(ignored.to_string()), None),
                Outcome::Rejected(rejected) => (VectorOutcome::Rejected(rejected.to_string()), None),
            };
            VectorResult { name: vector.name.clone(), expected: vector.expected, outcome, event }
        })
        .collect()
}

/// The verdict of a judge with one rule.
fn verdict(judge: &mut Judge, event: &Event<'_>) -> VectorOutcome {
    let verdicts = judge.event(event);
    let is_subscribed = verdicts.all().next().is_some();
    match verdicts.into_asked().pop() {
        Some(asked) => VectorOutcome::Verdict(asked.verdict),
        None if is_subscribed => VectorOutcome::Verdict(Verdict::Skipped),
        None => VectorOutcome::NotSubscribed,
    }
}

/// What a skipped vector comes to, given what the rule says when it is asked all the same.
fn hidden(asked: VectorOutcome) -> VectorOutcome {
    match asked {
        VectorOutcome::Verdict(Verdict::Alert(_)) => VectorOutcome::PrefilterHides,
        fault @ VectorOutcome::Verdict(Verdict::Fault(_)) => fault,
        _ => VectorOutcome::Verdict(Verdict::Skipped),
    }
}

/// An event as JSON for a person. What the client wrote deeper than 127 levels stays as it was written.
#[must_use]
pub fn pretty(event: &Event<'_>) -> String {
    let whole = serde_json::to_value(event).and_then(|event| serde_json::to_string_pretty(&event));
    whole.or_else(|_| serde_json::to_string_pretty(event)).unwrap_or_default()
}
