//! From a record to what every rule says about it.

use std::sync::Arc;

use jiff::Timestamp;
use portcullis_event::{Event, Ignored, Outcome, Rejected, normalize};

use crate::enrich::Enrichment;
use crate::package::Field;
use crate::rule_set::Candidates;
use crate::{Alert, Exclusion, Fault, Limits, Package, RuleSet, Sandbox};

/// The tenant of records that belong to nobody in particular.
pub const DEFAULT_TENANT: &str = "default";

/// Judges records one after the other with a rule set, each rule in its own sandbox. The calling thread runs the rules,
/// and needs a stack of at least 2 MiB.
pub struct Judge {
    rules: Arc<RuleSet>,
    /// One for each package of the rule set, in its order.
    sandboxes: Vec<Sandbox>,
    prefilters: bool,
    enrichment: Arc<Enrichment>,
    wanted_networks: bool,
    /// For each package those that concern it.
    exclusions: Vec<Vec<Exclusion>>,
    clock: fn() -> Timestamp,
    buffer: String,
    candidates: Candidates,
}

/// What became of a record.
#[derive(Debug)]
pub enum Judgement {
    /// It is a Kubernetes audit event, and every rule that subscribes to its log type has a verdict.
    Evaluated {
        /// The paths of the fields that had a wrong type.
        malformed: Vec<String>,
        /// The verdicts, in the order of the rule set.
        verdicts: Vec<RuleVerdict>,
    },
    /// It is no Kubernetes audit event.
    Ignored(Ignored),
    /// It cannot be read.
    Rejected(Rejected),
}

/// What one rule says about an event.
#[derive(Debug)]
pub struct RuleVerdict {
    /// The rule's place in [`RuleSet::packages`].
    pub rule: usize,
    /// What it says.
    pub verdict: Verdict,
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
    pub fn word(&self) -> &'static str {
        match self {
            Self::Alert(_) => "alert",
            Self::NoMatch => "no-match",
            Self::Skipped => "skipped",
            Self::Excluded { .. } => "excluded",
            Self::Fault(_) => "fault",
        }
    }
}

impl Judge {
    /// A judge with these rules. Rules start their instances with the first event that concerns them.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, limits: Limits) -> Self {
        let sandboxes = rules.packages().iter().map(|package| Sandbox::new(package.clone(), limits)).collect();
        Self {
            exclusions: vec![Vec::new(); rules.packages().len()],
            rules,
            sandboxes,
            prefilters: true,
            enrichment: Arc::default(),
            wanted_networks: false,
            clock: Timestamp::now,
            buffer: String::new(),
            candidates: Candidates::default(),
        }
    }

    /// The same judge, which looks up the networks of source addresses here, for events that a rule is asked about.
    #[must_use]
    pub fn with_enrichment(self, enrichment: Arc<Enrichment>) -> Self {
        Self { enrichment, ..self }
    }

    /// The same judge, which lets no match on an excluded event become an alert. The clock is asked for events without a
    /// time.
    #[must_use]
    pub fn with_exclusions(mut self, exclusions: &[Exclusion], clock: fn() -> Timestamp) -> Self {
        for (package, own) in self.rules.packages().iter().zip(&mut self.exclusions) {
            *own = exclusions.iter().filter(|exclusion| exclusion.rule_id == package.rule_id()).cloned().collect();
        }
        Self { clock, ..self }
    }

    /// Whether a rule that looks for public sources was asked about an event whose networks nobody knows, for want of
    /// enrichment.
    #[must_use]
    pub fn wanted_networks(&self) -> bool {
        self.wanted_networks
    }

    /// The same judge, which asks every rule about every event that it subscribes to: for checking that prefilters
    /// exclude nothing.
    #[must_use]
    pub fn without_prefilters(self) -> Self {
        Self { prefilters: false, ..self }
    }

    /// Judges a raw record.
    pub fn record(&mut self, record: &[u8]) -> Judgement {
        let mut buffer = std::mem::take(&mut self.buffer);
        let judgement = self.outcome(normalize(record, &mut buffer), record);
        self.buffer = buffer;
        judgement
    }

    /// Judges a record whose outcome is known.
    pub fn outcome(&mut self, outcome: Outcome<'_>, record: &[u8]) -> Judgement {
        match outcome {
            Outcome::Evaluated(event) => Judgement::Evaluated {
                verdicts: self.event(&event, record),
                malformed: event.malformed.iter().map(ToString::to_string).collect(),
            },
            Outcome::Ignored(ignored) => Judgement::Ignored(ignored),
            Outcome::Rejected(rejected) => Judgement::Rejected(rejected),
        }
    }

    /// Judges an event; `record` is what it was made from, and goes into the ids of alerts.
    #[expect(clippy::missing_panics_doc, reason = "an event can always be written as JSON")]
    pub fn event(&mut self, event: &Event<'_>, record: &[u8]) -> Vec<RuleVerdict> {
        self.rules.candidates(event, &mut self.candidates);
        let mut event_json = None;
        let mut verdicts = Vec::with_capacity(self.sandboxes.len());
        let rules = self.rules.packages().iter().zip(&mut self.sandboxes).zip(&self.exclusions);
        for (rule, ((package, sandbox), exclusions)) in rules.enumerate() {
            if !package.spec().log_types.contains(&event.log_type) {
                continue;
            }
            let verdict = if self.prefilters && !self.candidates.contains(rule) {
                Verdict::Skipped
            } else {
                self.wanted_networks |=
                    self.enrichment.is_empty() && asks_for_sources(package) && Enrichment::is_wanted(event);
                let event_json = event_json.get_or_insert_with(|| {
                    serde_json::to_string(&self.enrichment.enrich(event)).expect("an event is JSON")
                });
                let answer = sandbox.evaluate(event_json).and_then(|answer| {
                    answer.map(|answer| Alert::new(package, answer, event, record, DEFAULT_TENANT)).transpose()
                });
                match answer {
                    Ok(Some(alert)) => {
                        let exclusion = exclusions.iter().find(|exclusion| exclusion.covers(event, (self.clock)()));
                        let alert = Box::new(alert);
                        match exclusion {
                            Some(exclusion) => Verdict::Excluded { alert, reason: Arc::clone(&exclusion.reason) },
                            None => Verdict::Alert(alert),
                        }
                    }
                    Ok(None) => Verdict::NoMatch,
                    Err(fault) => Verdict::Fault(fault),
                }
            };
            verdicts.push(RuleVerdict { rule, verdict });
        }
        verdicts
    }
}

/// Whether a rule is about where requests come from, as far as its prefilter tells.
fn asks_for_sources(package: &Package) -> bool {
    let fields = package.prefilter().fields();
    fields.is_empty() || fields.iter().any(|(field, _)| *field == Field::SourceScope)
}
