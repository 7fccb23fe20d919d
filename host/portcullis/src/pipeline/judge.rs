//! Judges records with the rules of a tenant.

use std::sync::Arc;

use jiff::Timestamp;
use portcullis_alert::Alert;
use portcullis_event::{Buffers, Event, Outcome, normalize};

use crate::enrich::Enrichment;
use crate::exclusion::Exclusion;
use crate::limits::Limits;
use crate::package::{Field, Package, Spec};
use crate::pipeline::active_rule::{ActiveRule, EvalContext};
use crate::pipeline::blind::{self, Blind};
use crate::pipeline::shadows::Shadows;
use crate::pipeline::shared::Shared;
use crate::pipeline::{Judgement, Notice, RuleVerdict, Verdict, Verdicts};
use crate::rule_set::{Candidates, RuleSet, RuleSetCell};
use crate::sandbox::Fault;

/// State and settings that a judge shares with its forks.
#[derive(Clone)]
pub(super) struct Fixed {
    pub(super) tenant: Arc<str>,
    pub(super) exclusions: Arc<[Exclusion]>,
    pub(super) shared: Arc<Shared>,
    pub(super) prefilters: bool,
    pub(super) enrichment: Arc<Enrichment>,
    pub(super) clock: fn() -> Timestamp,
}

/// Judges the records of one tenant, one after the other, each rule in a sandbox of its own. The calling thread runs
/// the rules. A rule set that is published meanwhile takes effect with the next event.
pub struct Judge {
    cell: Arc<RuleSetCell>,
    /// The generation of the rule set in the cell.
    generation: u64,
    rules: Arc<RuleSet>,
    limits: Limits,
    /// The rules, in the order of the rule set's packages.
    active: Vec<ActiveRule>,
    /// The versions that are serving, in the same order.
    serving: Arc<[Package]>,
    /// Numbers of the rules that were rolled back, so that their version is not the rule set's.
    rolled_back: Vec<usize>,
    shadows: Shadows,
    fixed: Fixed,
    wanted_networks: bool,
    alert_bytes: AlertBytes,
    /// Rules that were blind to the last event.
    blind: Vec<Blind>,
    buffers: Buffers,
    candidates: Candidates,
}

/// Returns the number of bytes to write for an alert.
pub type AlertCost = fn(&Alert, &Spec) -> usize;

/// The bytes that the alerts of a batch may have, and those that are left.
struct AlertBytes {
    limit: usize,
    left: usize,
    cost: AlertCost,
    /// Whether the operator was notified that they are used up.
    is_notified: bool,
}

impl AlertBytes {
    fn new(limit: usize, cost: AlertCost) -> Self {
        Self { limit, left: limit, cost, is_notified: false }
    }

    /// Makes an alert for which no bytes are left a fault. It counts for no suspension, like one beyond the alerts of a
    /// minute.
    fn take(&mut self, verdict: &mut RuleVerdict) {
        let Verdict::Alert(alert) = &verdict.verdict else { return };
        if self.limit == usize::MAX {
            return;
        }
        if let Some(left) = self.left.checked_sub((self.cost)(alert, verdict.package.spec())) {
            self.left = left;
            return;
        }
        if !std::mem::replace(&mut self.is_notified, true) {
            verdict.notices.push(Notice::AlertBytesUsedUp);
        }
        verdict.verdict = Verdict::Fault(Fault::AlertBytes(self.limit));
    }
}

impl Judge {
    /// Returns a judge with the settings of a [`JudgeBuilder`](super::JudgeBuilder).
    pub(super) fn assemble(cell: Arc<RuleSetCell>, limits: Limits, fixed: Fixed) -> Self {
        let mut judge = Self {
            cell,
            generation: 0,
            rules: Arc::new(RuleSet::default()),
            limits,
            fixed,
            active: Vec::new(),
            serving: Arc::default(),
            rolled_back: Vec::new(),
            shadows: Shadows::default(),
            wanted_networks: false,
            alert_bytes: AlertBytes::new(usize::MAX, |_, _| 0),
            blind: Vec::new(),
            buffers: Buffers::default(),
            candidates: Candidates::default(),
        };
        judge.refresh();
        judge
    }

    /// Returns the tenant whose records it judges.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.fixed.tenant
    }

    /// Sets the bytes that all alerts until the next call may have, and how to count them. Matches beyond it are faults.
    /// Without a call, or with [`usize::MAX`], there is no limit.
    pub fn limit_alerts(&mut self, bytes: usize, cost: AlertCost) {
        self.alert_bytes = AlertBytes::new(bytes, cost);
    }

    /// Returns the rule set that it judged the last event with.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// Returns another judge for the same tenant, for another thread. Both share suspensions and alert budgets. It has
    /// the rules of this judge until [`Judge::set_rules`] changes them.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::assemble(Arc::new(RuleSetCell::new(Arc::clone(&self.rules))), self.limits, self.fixed.clone())
    }

    /// Sets the rules from the next event on, unless it has them already.
    pub fn set_rules(&mut self, rules: &Arc<RuleSet>) {
        if !Arc::ptr_eq(&self.rules, rules) {
            self.cell.publish(Arc::clone(rules));
        }
    }

    /// Returns whether, since the last call, a rule about public sources was called for an event whose networks are
    /// unknown because there is no enrichment.
    pub fn take_wanted_networks(&mut self) -> bool {
        std::mem::take(&mut self.wanted_networks)
    }

    /// Returns the rules that were blind to the last event: its record lacks what they need for a match.
    pub fn take_blind(&mut self) -> Vec<Blind> {
        std::mem::take(&mut self.blind)
    }

    /// Judges a raw record.
    pub fn record(&mut self, record: &[u8]) -> Judgement {
        let mut buffers = std::mem::take(&mut self.buffers);
        let judgement = self.outcome(normalize(record, &mut buffers));
        self.buffers = buffers;
        judgement
    }

    /// Judges a record that is normalized already.
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
        let judged = if self.candidates.is_empty() && self.shadows.is_empty() { Vec::new() } else { self.ask(event) };
        self.blind.clear();
        if blind::lacks_type(event) {
            self.find_blind(event);
        }
        Verdicts::new(event.log_type, serving, judged)
    }

    /// Finds the blind rules: only the type of a service keeps them from being candidates, and the record lacks the
    /// object that was sent.
    fn find_blind(&mut self, event: &Event<'_>) {
        if !self.rules.candidates_but_for_type(event, &mut self.candidates) || !blind::changed_object(event) {
            return;
        }
        let cut_off = blind::is_cut_off(event);
        if !cut_off && !blind::lacks_object(event) {
            return;
        }
        let mut next = 0;
        while let Some(rule) = self.candidates.next(next) {
            next = rule + 1;
            // The index does not contain versions that were rolled back to.
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

    /// Marks the rules to call for an event.
    fn find_candidates(&mut self, event: &Event<'_>) {
        if self.fixed.prefilters {
            self.rules.candidates(event, &mut self.candidates);
        } else {
            self.rules.subscribed(event.log_type, &mut self.candidates);
        }
        // The index does not contain versions that were rolled back to.
        for rule in &self.rolled_back {
            let package = self.active[*rule].package();
            let subscribes = package.subscribes_to(event.log_type);
            let lets_through = !self.fixed.prefilters || package.prefilter().first_miss(event).is_none();
            self.candidates.set(*rule, subscribes && lets_through);
        }
    }

    /// Calls the candidates, and the rules in shadow.
    fn ask(&mut self, event: &Event<'_>) -> Vec<RuleVerdict> {
        let (tenant, enrichment) = (Arc::clone(&self.fixed.tenant), Arc::clone(&self.fixed.enrichment));
        let mut context = EvalContext::new(event, &tenant, &enrichment, self.fixed.clock);
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
            self.rules.shadow_candidates(event, &mut self.candidates);
            let prefilters = self.fixed.prefilters;
            self.shadows.judge(&self.rules, &self.candidates, prefilters, &self.serving, &verdicts, &mut context);
        }
        // Last, so that neither a rollback nor a shadow sees what is a matter of the batch.
        for verdict in &mut verdicts {
            self.alert_bytes.take(verdict);
        }
        verdicts
    }

    /// Switches to the rule set that was published since, if there is one. Rules that stay keep their instances and
    /// state. Returns whether the rule set changed.
    fn refresh(&mut self) -> bool {
        let Some(rules) = self.cell.newer(&mut self.generation) else { return false };
        let mut before = std::mem::take(&mut self.active).into_iter().peekable();
        let mut successor = |package: &Package| {
            while before.next_if(|rule| rule.package().rule_id() < package.rule_id()).is_some() {}
            match before.next_if(|rule| rule.package().rule_id() == package.rule_id()) {
                Some(rule) => rule.refreshed(package, &rules, &self.limits, &self.fixed.shared),
                None => ActiveRule::new(package, &rules, &self.limits, &self.fixed.exclusions, &self.fixed.shared),
            }
        };
        self.active = rules.packages().iter().map(&mut successor).collect();
        self.shadows.refresh(&rules, &self.limits, &self.fixed.shared);
        self.rules = rules;
        self.update_serving();
        true
    }

    /// Updates the list of serving versions.
    fn update_serving(&mut self) {
        self.serving = self.active.iter().map(|rule| rule.package().clone()).collect();
        let of_set = self.rules.packages();
        self.rolled_back = (0..of_set.len()).filter(|rule| self.serving[*rule] != of_set[*rule]).collect();
    }

    /// Returns a rule's verdict.
    fn verdict(&mut self, rule: usize, context: &mut EvalContext<'_>) -> RuleVerdict {
        let active = &mut self.active[rule];
        self.wanted_networks |= self.fixed.enrichment.is_empty()
            && is_about_sources(active.package())
            && Enrichment::is_wanted(context.event);
        let verdict = active.judge(context);
        if *active.package() != self.serving[rule] {
            self.update_serving();
        }
        verdict
    }

    /// Judges an event again with new versions, if those that failed on it were replaced meanwhile.
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
}

/// Returns whether a rule was called, and failed.
fn failed_when_asked(verdict: &RuleVerdict) -> bool {
    matches!(&verdict.verdict, Verdict::Fault(fault) if !matches!(fault, Fault::Suspended(_) | Fault::Alerts(_)))
}

/// Returns whether a rule may be about the source of requests, according to its prefilter.
fn is_about_sources(package: &Package) -> bool {
    let fields = package.prefilter().fields();
    fields.is_empty() || fields.iter().any(|(field, _)| *field == Field::SourceScope)
}
