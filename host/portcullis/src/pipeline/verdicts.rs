//! What became of a record, and what each rule said.

use std::sync::Arc;
use std::time::Duration;

use portcullis_event::{Ignored, LogType, Rejected};

use crate::package::Package;
use crate::pipeline::{Notice, Unclaimed};
use crate::sandbox::Fault;
use portcullis_alert::Alert;

/// What became of a record.
#[derive(Debug)]
pub enum Judgement {
    /// It is a Kubernetes audit event, and every rule that subscribes to its log type has a verdict.
    Evaluated {
        /// The paths of the fields that had a wrong type.
        malformed: Vec<String>,
        /// The verdicts.
        verdicts: Verdicts,
    },
    /// It is no Kubernetes audit event.
    Ignored(Ignored),
    /// It cannot be read.
    Rejected(Rejected),
    /// It is a Kubernetes audit event, and not one tenant's. It is rejected too.
    Unclaimed(Unclaimed),
}

/// The verdicts of all rules on one event. Those that were asked have one of their own; all others that subscribe to the
/// event's log type are skipped, which costs nothing to say, however many they are.
#[derive(Debug)]
pub struct Verdicts {
    log_type: LogType,
    serving: Arc<[Package]>,
    asked: Vec<RuleVerdict>,
}

/// What one rule says about an event.
#[derive(Debug)]
pub struct RuleVerdict {
    /// The version of the rule that says it.
    pub package: Package,
    /// What it says.
    pub verdict: Verdict,
    /// What an operator must hear with it, in this order.
    pub notices: Vec<Notice>,
    /// How long the rule took, if it was asked.
    pub took: Option<Duration>,
}

/// What a rule says about an event, or why it says nothing.
#[derive(Debug)]
pub enum Verdict {
    /// A match.
    Alert(Box<Alert>),
    /// No match.
    NoMatch,
    /// The rule's prefilter rules a match out; the rule was not asked.
    Skipped,
    /// A match, on an event that the operator has excluded from alerting.
    Excluded {
        /// What would have been the alert.
        alert: Box<Alert>,
        /// Why the event is excluded.
        reason: Arc<str>,
    },
    /// The rule failed.
    Fault(Fault),
}

impl Verdict {
    /// The word for it in ledgers and summaries.
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
    /// Of these rules, by rule id, on an event of this log type: the verdicts of those that were asked, in the same order.
    pub(super) fn new(log_type: LogType, serving: Arc<[Package]>, asked: Vec<RuleVerdict>) -> Self {
        Self { log_type, serving, asked }
    }

    /// The verdicts of the rules that were asked, by rule id; and of one that another version took over from on this event.
    #[must_use]
    pub fn asked(&self) -> &[RuleVerdict] {
        &self.asked
    }

    /// The same, to keep.
    #[must_use]
    pub fn into_asked(self) -> Vec<RuleVerdict> {
        self.asked
    }

    /// The verdicts of all rules that subscribe to the event's log type, by rule id, each with the version that says it.
    pub fn all(&self) -> impl Iterator<Item = (&Package, &Verdict)> {
        let mut asked = self.asked.iter().peekable();
        self.serving.iter().filter_map(move |package| {
            match asked.next_if(|asked| asked.package.rule_id() == package.rule_id()) {
                Some(RuleVerdict { package, verdict, .. }) => Some((package, verdict)),
                None => package.subscribes_to(self.log_type).then_some((package, &Verdict::Skipped)),
            }
        })
    }

    /// The event's log type.
    pub(super) fn log_type(&self) -> LogType {
        self.log_type
    }

    /// The versions that were at work when the event began, by rule id.
    pub(super) fn serving(&self) -> &Arc<[Package]> {
        &self.serving
    }
}
