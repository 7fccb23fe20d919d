//! From a record to what every rule says about it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use portcullis_event::{Event, Ignored, Outcome, Rejected, normalize};

use crate::enrich::Enrichment;
use crate::package::Field;
use crate::pipeline::alert_budget::{AlertBudget, Budget};
use crate::pipeline::claims::Unowned;
use crate::pipeline::suspension::{Notice, Suspension};
use crate::rule_set::Candidates;
use crate::{Alert, Exclusion, Fault, Limits, Package, RuleSet, Sandbox};

/// The tenant of all records where none is named.
pub const DEFAULT_TENANT: &str = "default";

/// Judges the records of one tenant one after the other with its rule set, each rule in its own sandbox. The calling
/// thread runs the rules.
pub struct Judge {
    tenant: Arc<str>,
    rules: Arc<RuleSet>,
    limits: Limits,
    /// One for each package of the rule set, in its order.
    active: Vec<ActiveRule>,
    prefilters: bool,
    enrichment: Arc<Enrichment>,
    wanted_networks: bool,
    clock: fn() -> Timestamp,
    buffer: String,
    candidates: Candidates,
}

/// A rule at work for one tenant: all that is its own.
struct ActiveRule {
    sandbox: Sandbox,
    suspension: Suspension,
    alerts: AlertBudget,
    exclusions: Vec<Exclusion>,
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
    /// It is a Kubernetes audit event, and not one tenant's. It is rejected too.
    Unowned(Unowned),
}

/// What one rule says about an event.
#[derive(Debug)]
pub struct RuleVerdict {
    /// The rule's place in [`RuleSet::packages`].
    pub rule: usize,
    /// What it says.
    pub verdict: Verdict,
    /// What an operator must hear with it, in this order.
    pub notices: Vec<Notice>,
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
    /// A judge with these rules, for the tenant [`DEFAULT_TENANT`]. Rules start their instances with the first event that
    /// concerns them.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, limits: Limits) -> Self {
        let active = |package: &Package| ActiveRule {
            sandbox: Sandbox::new(package.clone(), limits),
            suspension: Suspension::new(limits.suspend_after),
            alerts: AlertBudget::new(limits.alerts_per_minute),
            exclusions: Vec::new(),
        };
        Self {
            tenant: DEFAULT_TENANT.into(),
            active: rules.packages().iter().map(active).collect(),
            rules,
            limits,
            prefilters: true,
            enrichment: Arc::default(),
            wanted_networks: false,
            clock: Timestamp::now,
            buffer: String::new(),
            candidates: Candidates::default(),
        }
    }

    /// The same judge, for this tenant.
    #[must_use]
    pub fn with_tenant(self, tenant: Arc<str>) -> Self {
        Self { tenant, ..self }
    }

    /// Whose records it judges.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The rules that it judges with.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
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
        for (package, rule) in self.rules.packages().iter().zip(&mut self.active) {
            rule.exclusions =
                exclusions.iter().filter(|exclusion| exclusion.rule_id == package.rule_id()).cloned().collect();
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
        let mut verdicts = Vec::with_capacity(self.active.len());
        for (rule, (package, active)) in self.rules.packages().iter().zip(&mut self.active).enumerate() {
            if !package.spec().log_types.contains(&event.log_type) {
                continue;
            }
            if self.prefilters && !self.candidates.contains(rule) {
                verdicts.push(RuleVerdict { rule, verdict: Verdict::Skipped, notices: Vec::new() });
                continue;
            }
            if let Some(left) = active.suspension.passes_over(|| known_time(event, self.clock)) {
                let verdict = Verdict::Fault(Fault::Suspended(left));
                verdicts.push(RuleVerdict { rule, verdict, notices: Vec::new() });
                continue;
            }
            self.wanted_networks |=
                self.enrichment.is_empty() && asks_for_sources(package) && Enrichment::is_wanted(event);
            let event_json = event_json.get_or_insert_with(|| {
                serde_json::to_string(&self.enrichment.enrich(event)).expect("an event is JSON")
            });
            let answer = active.sandbox.evaluate(event_json).and_then(|answer| {
                let alert = |answer| Alert::new(package, answer, event, record, &self.tenant, self.limits.alert);
                answer.map(alert).transpose()
            });
            let notice = match &answer {
                Ok(_) => active.suspension.answered(),
                Err(_) => active.suspension.faulted(known_time(event, self.clock)),
            };
            let (verdict, matched) = match answer {
                Ok(Some(alert)) => active.matched(Box::new(alert), event, self.clock),
                Ok(None) => (Verdict::NoMatch, None),
                Err(fault) => (Verdict::Fault(fault), None),
            };
            let notices = notice.into_iter().chain(matched).collect();
            verdicts.push(RuleVerdict { rule, verdict, notices });
        }
        verdicts
    }
}

impl ActiveRule {
    /// What becomes of a match. One over the budget is a fault that suspends nobody: whoever could make a rule match
    /// often could otherwise silence it.
    fn matched(&mut self, alert: Box<Alert>, event: &Event<'_>, clock: fn() -> Timestamp) -> (Verdict, Option<Notice>) {
        if let Some(exclusion) = self.exclusions.iter().find(|exclusion| exclusion.covers(event, clock())) {
            return (Verdict::Excluded { alert, reason: Arc::clone(&exclusion.reason) }, None);
        }
        let limit = self.alerts.limit();
        let over = |notice| (Verdict::Fault(Fault::Alerts(limit)), notice);
        match self.alerts.take(known_time(event, clock).unwrap_or_else(clock).as_second()) {
            Budget::Left => (Verdict::Alert(alert), None),
            Budget::UsedUp => over(Some(Notice::AlertsUsedUp)),
            Budget::Exceeded => over(None),
        }
    }
}

/// An event's time, unless the clock behind it is wrong: by more than a day ahead.
fn known_time(event: &Event<'_>, clock: fn() -> Timestamp) -> Option<Timestamp> {
    let time: Timestamp = event.event_time.as_deref()?.parse().ok()?;
    let most = clock().checked_add(SignedDuration::from_hours(24)).ok()?;
    (time <= most).then_some(time)
}

/// Whether a rule is about where requests come from, as far as its prefilter tells.
fn asks_for_sources(package: &Package) -> bool {
    let fields = package.prefilter().fields();
    fields.is_empty() || fields.iter().any(|(field, _)| *field == Field::SourceScope)
}
