//! From a record to what every rule says about it.

use std::sync::Arc;

use jiff::Timestamp;
pub use portcullis_alert::DEFAULT_TENANT;
use portcullis_event::{Buffers, Event, Outcome, normalize};

use crate::enrich::Enrichment;
use crate::exclusion::Exclusion;
use crate::limits::Limits;
use crate::package::{Field, Package};
use crate::pipeline::active_rule::{ActiveRule, EvalContext, Version};
use crate::pipeline::blind::{self, Blind};
use crate::pipeline::shared::Shared;
use crate::pipeline::{Judgement, RuleVerdict, Verdict, Verdicts};
use crate::rule_set::{Candidates, RuleSet, RuleSetCell, Shadow};
use crate::sandbox::Fault;

/// Judges the records of one tenant one after the other with its rule set, each rule in its own sandbox. The calling
/// thread runs the rules. A rule set that is published meanwhile takes over with the next event.
pub struct Judge {
    tenant: Arc<str>,
    cell: Arc<RuleSetCell>,
    /// Which of the exchange's rule sets this is.
    generation: u64,
    rules: Arc<RuleSet>,
    limits: Limits,
    /// One for each package of the rule set, in its order.
    active: Vec<ActiveRule>,
    /// The packages that they judge with.
    serving: Arc<[Package]>,
    /// Those of them that have gone back to another version than the rule set's.
    rolled_back: Vec<usize>,
    /// One for each candidate in its shadow.
    shadows: Vec<Version>,
    exclusions: Arc<[Exclusion]>,
    shared: Arc<Shared>,
    prefilters: bool,
    enrichment: Arc<Enrichment>,
    wanted_networks: bool,
    /// Rules that could not see what they go by in the last event.
    blind: Vec<Blind>,
    clock: fn() -> Timestamp,
    buffers: Buffers,
    candidates: Candidates,
}

impl Judge {
    /// A judge with these rules, for the tenant [`DEFAULT_TENANT`]. Rules start their instances with the first event that
    /// concerns them.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, limits: Limits) -> Self {
        Self::following(Arc::new(RuleSetCell::new(rules)), limits)
    }

    /// The same, with the rules that are published here, now and later.
    #[must_use]
    pub fn following(cell: Arc<RuleSetCell>, limits: Limits) -> Self {
        Self::empty(cell, limits).with_rules()
    }

    fn empty(cell: Arc<RuleSetCell>, limits: Limits) -> Self {
        Self {
            tenant: DEFAULT_TENANT.into(),
            cell,
            generation: 0,
            rules: Arc::new(RuleSet::default()),
            limits,
            active: Vec::new(),
            serving: Arc::default(),
            rolled_back: Vec::new(),
            shadows: Vec::new(),
            exclusions: Arc::default(),
            shared: Arc::default(),
            prefilters: true,
            enrichment: Arc::default(),
            wanted_networks: false,
            blind: Vec::new(),
            clock: Timestamp::now,
            buffers: Buffers::default(),
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
        let judge = Self { exclusions: exclusions.into(), clock, ..self };
        let active = judge.rules.packages().iter().map(|package| judge.active_rule(package)).collect();
        Self { active, ..judge }
    }

    /// Another judge for the same tenant, to work beside this one on another thread: together they suspend rules, and use up
    /// budgets of alerts. It has this one's rules until it is given others.
    #[must_use]
    pub fn fork(&self) -> Self {
        let judge = Self {
            tenant: Arc::clone(&self.tenant),
            exclusions: Arc::clone(&self.exclusions),
            shared: Arc::clone(&self.shared),
            prefilters: self.prefilters,
            enrichment: Arc::clone(&self.enrichment),
            clock: self.clock,
            ..Self::empty(Arc::new(RuleSetCell::new(Arc::clone(&self.rules))), self.limits)
        };
        judge.with_rules()
    }

    /// Judges with these rules from the next event on, if it has others.
    pub fn set_rules(&mut self, rules: &Arc<RuleSet>) {
        if !Arc::ptr_eq(&self.rules, rules) {
            self.cell.publish(Arc::clone(rules));
        }
    }

    fn with_rules(mut self) -> Self {
        self.refresh();
        self
    }

    fn active_rule(&self, package: &Package) -> ActiveRule {
        ActiveRule::new(package, &self.rules, &self.limits, &self.exclusions, &self.shared)
    }

    /// Whether, since this was last asked, a rule that looks for public sources was asked about an event whose networks
    /// nobody knows, for want of enrichment.
    pub fn take_wanted_networks(&mut self) -> bool {
        std::mem::take(&mut self.wanted_networks)
    }

    /// The rules that could not match the last event whatever was done, because it does not say what they go by.
    pub fn take_blind(&mut self) -> Vec<Blind> {
        std::mem::take(&mut self.blind)
    }

    /// The same judge, which asks every rule about every event that it subscribes to: for checking that prefilters
    /// exclude nothing.
    #[must_use]
    pub fn without_prefilters(self) -> Self {
        Self { prefilters: false, ..self }
    }

    /// Judges a raw record.
    pub fn record(&mut self, record: &[u8]) -> Judgement {
        let mut buffers = std::mem::take(&mut self.buffers);
        let judgement = self.outcome(normalize(record, &mut buffers));
        self.buffers = buffers;
        judgement
    }

    /// Judges a record whose outcome is known.
    pub fn outcome(&mut self, outcome: Outcome<'_>) -> Judgement {
        match outcome {
            Outcome::Evaluated(event) => Judgement::Evaluated {
                verdicts: self.event(&event),
                malformed: event.malformed.iter().map(ToString::to_string).collect(),
            },
            Outcome::Ignored(ignored) => Judgement::Ignored(ignored),
            Outcome::Rejected(rejected) => Judgement::Rejected(rejected),
        }
    }

    /// Judges an event.
    pub fn event(&mut self, event: &Event<'_>) -> Verdicts {
        self.refresh();
        let serving = Arc::clone(&self.serving);
        self.find_candidates(event);
        let asked = if self.candidates.is_empty() && self.shadows.is_empty() { Vec::new() } else { self.ask(event) };
        self.blind.clear();
        if blind::lacks_type(event) {
            self.find_blind(event);
        }
        Verdicts::new(event.log_type, serving, asked)
    }

    /// Notes the rules that only the type of a service keeps from being asked, where the record does not have what was sent.
    fn find_blind(&mut self, event: &Event<'_>) {
        if !self.rules.candidates_but_for_type(event, &mut self.candidates) || !blind::did_something(event) {
            return;
        }
        let cut_off = blind::is_cut_off(event);
        if !cut_off && !blind::lacks_object(event) {
            return;
        }
        let mut next = 0;
        while let Some(rule) = self.candidates.next(next) {
            next = rule + 1;
            // The index knows nothing of a version that a judge has gone back to.
            if self.rolled_back.contains(&rule) {
                continue;
            }
            let text = |text: Option<&str>| text.unwrap_or_default().chars().take(100).collect();
            self.blind.push(Blind {
                package: self.active[rule].package().clone(),
                verb: text(event.verb.as_deref()),
                resource: text(event.resource.as_deref()),
                cut_off,
            });
        }
    }

    /// Marks the rules that are to be asked about an event.
    fn find_candidates(&mut self, event: &Event<'_>) {
        if self.prefilters {
            self.rules.candidates(event, &mut self.candidates);
        } else {
            self.rules.subscribed(event.log_type, &mut self.candidates);
        }
        // The index is that of the rule set's versions, and knows nothing of one that a judge has gone back to.
        for rule in &self.rolled_back {
            let package = self.active[*rule].package();
            let subscribes = is_subscribed(package, event);
            let lets_through = !self.prefilters || package.prefilter().first_miss(event).is_none();
            self.candidates.set(*rule, subscribes && lets_through);
        }
    }

    /// Asks the candidates, and the rule set's shadow.
    fn ask(&mut self, event: &Event<'_>) -> Vec<RuleVerdict> {
        let (tenant, enrichment) = (Arc::clone(&self.tenant), Arc::clone(&self.enrichment));
        let mut context = EvalContext::new(event, &tenant, &enrichment, self.clock);
        let mut next = 0;
        let mut verdicts = Vec::new();
        while let Some(rule) = self.candidates.next(next) {
            verdicts.push(self.verdict(rule, &mut context));
            next = rule + 1;
        }
        if verdicts.iter().any(failed_when_asked) && self.refresh() {
            self.judge_again(&mut verdicts, &mut context);
        }
        if !self.shadows.is_empty() {
            self.judge_in_shadow(&verdicts, &mut context);
        }
        verdicts
    }

    /// Takes up the rules that have been published since, if any. Rules that stay carry on, with their instances and all
    /// that is theirs.
    fn refresh(&mut self) -> bool {
        let Some(rules) = self.cell.newer(&mut self.generation) else { return false };
        let mut before = std::mem::take(&mut self.active).into_iter().peekable();
        let mut successor = |package: &Package| {
            while before.next_if(|rule| rule.package().rule_id() < package.rule_id()).is_some() {}
            match before.next_if(|rule| rule.package().rule_id() == package.rule_id()) {
                Some(rule) => rule.under(package, &rules, &self.limits, &self.shared),
                None => ActiveRule::new(package, &rules, &self.limits, &self.exclusions, &self.shared),
            }
        };
        self.active = rules.packages().iter().map(&mut successor).collect();
        let mut before = std::mem::take(&mut self.shadows);
        let mut in_shadow = |Shadow { package, .. }: &Shadow| {
            let known = before.iter().position(|version| version.package == *package);
            known.map_or_else(
                || Version::new(package.clone(), &self.limits, &self.shared),
                |place| before.swap_remove(place),
            )
        };
        self.shadows = rules.shadows().iter().map(&mut in_shadow).collect();
        self.rules = rules;
        self.note_versions();
        true
    }

    /// What versions are at work now.
    fn note_versions(&mut self) {
        self.serving = self.active.iter().map(|rule| rule.package().clone()).collect();
        let of_set = self.rules.packages();
        self.rolled_back = (0..of_set.len()).filter(|rule| self.serving[*rule] != of_set[*rule]).collect();
    }

    /// What a rule says.
    fn verdict(&mut self, rule: usize, context: &mut EvalContext<'_>) -> RuleVerdict {
        let active = &mut self.active[rule];
        self.wanted_networks |=
            self.enrichment.is_empty() && asks_for_sources(active.package()) && Enrichment::is_wanted(context.event);
        let verdict = active.judge(context);
        if *active.package() != self.serving[rule] {
            self.note_versions();
        }
        verdict
    }

    /// An event on which a version failed that has been replaced meanwhile is the new one's.
    fn judge_again(&mut self, verdicts: &mut [RuleVerdict], context: &mut EvalContext<'_>) {
        self.find_candidates(context.event);
        for verdict in verdicts.iter_mut().filter(|verdict| failed_when_asked(verdict)) {
            let same_rule = |active: &ActiveRule| active.package().rule_id() == verdict.package.rule_id();
            let Some(rule) = self.active.iter().position(same_rule) else { continue };
            let package = self.active[rule].package().clone();
            if package == verdict.package {
                continue;
            }
            *verdict = if self.candidates.contains(rule) {
                self.verdict(rule, context)
            } else {
                RuleVerdict { package, verdict: Verdict::Skipped, notices: Vec::new(), took: None }
            };
        }
    }

    /// Asks the candidates in the rule set's shadow too, and counts what they would have said.
    fn judge_in_shadow(&mut self, verdicts: &[RuleVerdict], context: &mut EvalContext<'_>) {
        self.rules.shadow_candidates(context.event, &mut self.candidates);
        let shadows = self.rules.shadows().iter().zip(&mut self.shadows).enumerate();
        for (number, (Shadow { package, tally }, version)) in shadows.filter(|(_, (shadow, _))| !shadow.tally.is_over())
        {
            let active = verdicts.iter().find(|verdict| verdict.package.rule_id() == package.rule_id());
            let subscribes = is_subscribed(package, context.event);
            let is_rule = |active: &&Package| active.rule_id() == package.rule_id();
            let active_subscribes =
                || self.serving.iter().find(is_rule).is_some_and(|active| is_subscribed(active, context.event));
            if !subscribes && !active_subscribes() {
                continue;
            }
            let active = active.map_or(Ok(false), |active| match active.verdict {
                Verdict::Alert(_) | Verdict::Excluded { .. } | Verdict::Fault(Fault::Alerts(_)) => Ok(true),
                Verdict::NoMatch | Verdict::Skipped => Ok(false),
                Verdict::Fault(_) => Err(()),
            });
            let is_asked = self.candidates.contains(number) || (subscribes && !self.prefilters);
            let candidate =
                if is_asked { version.ask(context).answer.map(|answer| answer.is_some()) } else { Ok(false) };
            tally.count(context.event.audit_id.as_deref(), active, candidate);
        }
    }
}

fn is_subscribed(package: &Package, event: &Event<'_>) -> bool {
    package.spec().log_types.contains(&event.log_type)
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
