//! Judgements of records, and verdicts of rules.

use std::sync::Arc;
use std::time::Duration;

use portcullis_event::{Ignored, LogType, Rejected};

use crate::package::Package;
use crate::pipeline::{Notice, Unclaimed};
use crate::sandbox::Fault;
use portcullis_alert::Alert;

/// The judgement of a record.
#[derive(Debug)]
pub enum Judgement {
    /// It is a Kubernetes audit event, and every rule that subscribes to its log type has a verdict.
    Evaluated {
        /// Paths of the fields with wrong types.
        malformed: Vec<String>,
        /// The verdicts.
        verdicts: Verdicts,
    },
    /// It is not a Kubernetes audit event.
    Ignored(Ignored),
    /// It cannot be read.
    Rejected(Rejected),
    /// It is a Kubernetes audit event, but does not belong to exactly one tenant. It is rejected.
    Unclaimed(Unclaimed),
}

/// The verdicts of all rules on one event. Rules that were called have verdicts of their own. All others that subscribe
/// to the event's log type are skipped, at no cost.
#[derive(Debug)]
pub struct Verdicts {
    log_type: LogType,
    serving: Arc<[Package]>,
    judged: Vec<RuleVerdict>,
}

/// One rule's verdict on an event.
#[derive(Debug)]
pub struct RuleVerdict {
    /// The version of the rule.
    pub package: Package,
    /// The verdict.
    pub verdict: Verdict,
    /// Notices that come with it, in order.
    pub notices: Vec<Notice>,
    /// Duration of the call, if the rule was called.
    pub took: Option<Duration>,
}

/// A rule's verdict on an event.
#[derive(Debug)]
pub enum Verdict {
    /// A match.
    Alert(Box<Alert>),
    /// No match.
    NoMatch,
    /// The prefilter excludes a match; the rule was not called.
    Skipped,
    /// A match on an event that the operator has excluded.
    Excluded {
        /// The alert that the match would have been.
        alert: Box<Alert>,
        /// The operator's reason.
        reason: Arc<str>,
    },
    /// The rule failed.
    Fault(Fault),
}

impl Verdict {
    /// Returns the verdict's name in ledgers and summaries.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Alert(_) => "alert",
            Self::NoMatch => "no-match",
            Self::Skipped => "skipped",
            Self::Excluded { .. } => "excluded",
            Self::Fault(_) => "fault",
        }
    }
}

impl Verdicts {
    /// Returns the verdicts of rules on an event of this log type. `serving` has the rules by rule id; `judged` has the
    /// verdicts of those that were called, in the same order.
    pub(super) fn new(log_type: LogType, serving: Arc<[Package]>, judged: Vec<RuleVerdict>) -> Self {
        Self { log_type, serving, judged }
    }

    /// Returns the verdicts of the rules that were called, by rule id, including a rule that another version replaced
    /// on this event.
    #[must_use]
    pub fn judged(&self) -> &[RuleVerdict] {
        &self.judged
    }

    /// Returns the verdicts of the rules that were called.
    #[must_use]
    pub fn into_judged(self) -> Vec<RuleVerdict> {
        self.judged
    }

    /// Returns the verdicts of all rules that subscribe to the event's log type, by rule id, each with its version.
    pub fn all(&self) -> impl Iterator<Item = (&Package, &Verdict)> {
        let mut judged = self.judged.iter().peekable();
        self.serving.iter().filter_map(move |package| {
            match judged.next_if(|judged| judged.package.rule_id() == package.rule_id()) {
                Some(RuleVerdict { package, verdict, .. }) => Some((package, verdict)),
                None => package.subscribes_to(self.log_type).then_some((package, &Verdict::Skipped)),
            }
        })
    }

    /// Returns the event's log type.
    pub(super) fn log_type(&self) -> LogType {
        self.log_type
    }

    /// Returns the versions that were serving when the event began, by rule id.
    pub(super) fn serving(&self) -> &Arc<[Package]> {
        &self.serving
    }
}
