//! From a record to what every rule says about it.

use std::sync::Arc;

use jiff::Timestamp;
use portcullis_event::{Event, Ignored, Outcome, Rejected, normalize};

use crate::enrich::Enrichment;
use crate::package::Field;
use crate::pipeline::Notice;
use crate::pipeline::active_rule::{ActiveRule, Asked, Version};
use crate::pipeline::claims::Unowned;
use crate::rule_set::{Candidates, Shadow};
use crate::{Alert, Exchange, Exclusion, Fault, Limits, Package, RuleSet};

/// The tenant of all records where none is named.
pub const DEFAULT_TENANT: &str = "default";

/// Judges the records of one tenant one after the other with its rule set, each rule in its own sandbox. The calling
/// thread runs the rules. A rule set that is published meanwhile takes over with the next event.
pub struct Judge {
    tenant: Arc<str>,
    exchange: Arc<Exchange<RuleSet>>,
    /// Which of the exchange's rule sets this is.
    generation: u64,
    rules: Arc<RuleSet>,
    limits: Limits,
    /// One for each package of the rule set, in its order.
    active: Vec<ActiveRule>,
    /// One for each candidate in its shadow.
    shadows: Vec<Version>,
    exclusions: Vec<Exclusion>,
    prefilters: bool,
    enrichment: Arc<Enrichment>,
    wanted_networks: bool,
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
        /// The verdicts, by rule id.
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
    /// The version of the rule that says it.
    pub package: Package,
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
        Self::following(Arc::new(Exchange::new(rules)), limits)
    }

    /// The same, with the rules that are published here, now and later.
    #[must_use]
    pub fn following(exchange: Arc<Exchange<RuleSet>>, limits: Limits) -> Self {
        let mut judge = Self {
            tenant: DEFAULT_TENANT.into(),
            exchange,
            generation: 0,
            rules: Arc::new(RuleSet::default()),
            limits,
            active: Vec::new(),
            shadows: Vec::new(),
            exclusions: Vec::new(),
            prefilters: true,
            enrichment: Arc::default(),
            wanted_networks: false,
            clock: Timestamp::now,
            buffer: String::new(),
            candidates: Candidates::default(),
        };
        judge.take_up();
        judge
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

    /// The rules that it has judged the last event with.
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
    pub fn with_exclusions(self, exclusions: &[Exclusion], clock: fn() -> Timestamp) -> Self {
        let active = self.rules.packages().iter();
        let active = active.map(|package| ActiveRule::new(package, &self.rules, &self.limits, exclusions)).collect();
        Self { active, exclusions: exclusions.to_vec(), clock, ..self }
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
    pub fn event(&mut self, event: &Event<'_>, record: &[u8]) -> Vec<RuleVerdict> {
        self.take_up();
        let (tenant, enrichment) = (Arc::clone(&self.tenant), Arc::clone(&self.enrichment));
        let mut asked = Asked::new(event, record, &tenant, &enrichment, self.clock);
        let mut verdicts = Vec::with_capacity(self.active.len());
        self.rules.candidates(event, &mut self.candidates);
        for rule in 0..self.active.len() {
            verdicts.extend(self.verdict(rule, &mut asked));
        }
        if verdicts.iter().any(failed_when_asked) && self.take_up() {
            self.judge_again(&mut verdicts, &mut asked);
        }
        if !self.shadows.is_empty() {
            self.judge_in_shadow(&verdicts, &mut asked);
        }
        verdicts
    }

    /// Takes up the rules that have been published since, if any. Rules that stay carry on, with their instances and all
    /// that is theirs.
    fn take_up(&mut self) -> bool {
        let Some(rules) = self.exchange.newer(&mut self.generation) else { return false };
        let mut before = std::mem::take(&mut self.active).into_iter().peekable();
        let mut successor = |package: &Package| {
            while before.next_if(|rule| rule.package().rule_id() < package.rule_id()).is_some() {}
            match before.next_if(|rule| rule.package().rule_id() == package.rule_id()) {
                Some(rule) => rule.under(package, &rules, &self.limits),
                None => ActiveRule::new(package, &rules, &self.limits, &self.exclusions),
            }
        };
        self.active = rules.packages().iter().map(&mut successor).collect();
        let mut before = std::mem::take(&mut self.shadows);
        let mut in_shadow = |Shadow { package, .. }: &Shadow| {
            let known = before.iter().position(|version| version.package == *package);
            known.map_or_else(|| Version::new(package.clone(), &self.limits), |place| before.swap_remove(place))
        };
        self.shadows = rules.shadows().iter().map(&mut in_shadow).collect();
        self.rules = rules;
        true
    }

    /// What a rule says, if it subscribes to the event's log type; the rule set's candidates are those of the event.
    fn verdict(&mut self, rule: usize, asked: &mut Asked<'_>) -> Option<RuleVerdict> {
        let active = &mut self.active[rule];
        let package = active.package();
        if !package.spec().log_types.contains(&asked.event.log_type) {
            return None;
        }
        // The index is that of the rule set's versions, and knows nothing of one that a judge has gone back to.
        let lets_through = if active.differs_from(&self.rules.packages()[rule]) {
            package.prefilter().first_miss(asked.event).is_none()
        } else {
            self.candidates.contains(rule)
        };
        if self.prefilters && !lets_through {
            return Some(RuleVerdict { package: package.clone(), verdict: Verdict::Skipped, notices: Vec::new() });
        }
        self.wanted_networks |=
            self.enrichment.is_empty() && asks_for_sources(package) && Enrichment::is_wanted(asked.event);
        Some(active.judge(asked))
    }

    /// An event on which a version failed that has been replaced meanwhile is the new one's.
    fn judge_again(&mut self, verdicts: &mut Vec<RuleVerdict>, asked: &mut Asked<'_>) {
        self.rules.candidates(asked.event, &mut self.candidates);
        for rule in 0..self.active.len() {
            let package = self.active[rule].package();
            let same_rule = |verdict: &RuleVerdict| verdict.package.rule_id() == package.rule_id();
            let Some(place) = verdicts.iter().position(same_rule) else { continue };
            if failed_when_asked(&verdicts[place]) && verdicts[place].package != *package {
                verdicts.splice(place..=place, self.verdict(rule, asked));
            }
        }
    }

    /// Asks the candidates in the rule set's shadow too, and counts what they would have said.
    fn judge_in_shadow(&mut self, verdicts: &[RuleVerdict], asked: &mut Asked<'_>) {
        self.rules.shadow_candidates(asked.event, &mut self.candidates);
        let shadows = self.rules.shadows().iter().zip(&mut self.shadows).enumerate();
        for (number, (Shadow { package, tally }, version)) in shadows.filter(|(_, (shadow, _))| !shadow.tally.is_over())
        {
            let active = verdicts.iter().find(|verdict| verdict.package.rule_id() == package.rule_id());
            let subscribes = package.spec().log_types.contains(&asked.event.log_type);
            if active.is_none() && !subscribes {
                continue;
            }
            let active = active.map_or(Ok(false), |active| match active.verdict {
                Verdict::Alert(_) | Verdict::Excluded { .. } | Verdict::Fault(Fault::Alerts(_)) => Ok(true),
                Verdict::NoMatch | Verdict::Skipped => Ok(false),
                Verdict::Fault(_) => Err(()),
            });
            let is_asked = self.candidates.contains(number) || (subscribes && !self.prefilters);
            let candidate = if is_asked { version.ask(asked).0.map(|answer| answer.is_some()) } else { Ok(false) };
            tally.count(asked.event.audit_id.as_deref(), active, candidate);
        }
    }
}

/// Whether a rule was asked, and failed by itself.
fn failed_when_asked(verdict: &RuleVerdict) -> bool {
    matches!(&verdict.verdict, Verdict::Fault(fault) if !matches!(fault, Fault::Suspended(_) | Fault::Alerts(_)))
}

/// Whether a rule is about where requests come from, as far as its prefilter tells.
fn asks_for_sources(package: &Package) -> bool {
    let fields = package.prefilter().fields();
    fields.is_empty() || fields.iter().any(|(field, _)| *field == Field::SourceScope)
}
