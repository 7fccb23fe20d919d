//! A serving rule of one tenant, and the version that it replaced.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use portcullis_event::Event;

use crate::enrich::Enrichment;
use crate::exclusion::Exclusion;
use crate::limits::Limits;
use crate::package::Package;
use crate::pipeline::alert_budget::{AlertBudget, Budget};
use crate::pipeline::shared::{Shared, locked};
use crate::pipeline::suspension::Suspension;
use crate::pipeline::{Notice, RuleVerdict, Verdict};
use crate::rule_set::{Predecessor, RuleSet};
use crate::sandbox::{Fault, Sandbox, checked};
use portcullis_alert::Alert;

/// An event that rules are called for, one after the other.
pub(super) struct EvalContext<'a> {
    pub(super) event: &'a Event<'a>,
    pub(super) tenant: &'a str,
    pub(super) enrichment: &'a Enrichment,
    pub(super) clock: fn() -> Timestamp,
    /// The event's JSON, which is made for the first call.
    json: Option<String>,
}

impl<'a> EvalContext<'a> {
    pub(super) fn new(
        event: &'a Event<'a>,
        tenant: &'a str,
        enrichment: &'a Enrichment,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self { event, tenant, enrichment, clock, json: None }
    }

    fn json(&mut self) -> &str {
        let Self { event, enrichment, .. } = *self;
        self.json.get_or_insert_with(|| serde_json::to_string(&enrichment.enrich(event)).expect("an event is JSON"))
    }

    /// Returns the event's time, unless it is more than a day ahead of the clock, and therefore wrong.
    fn known_time(&self) -> Option<Timestamp> {
        let time: Timestamp = self.event.event_time.as_deref()?.parse().ok()?;
        let most = (self.clock)().checked_add(SignedDuration::from_hours(24)).ok()?;
        (time <= most).then_some(time)
    }
}

/// One version of a rule, with its instance and its suspension.
pub(super) struct Version {
    pub(super) package: Package,
    sandbox: Sandbox,
    suspension: Arc<Mutex<Suspension>>,
    alert_length: usize,
}

/// A version's answer. A match is the alert that it may become.
type Answer = Result<Option<Box<Alert>>, Fault>;

/// An answer, its notice, and the duration of the call, if there was one.
pub(super) struct Evaluation {
    pub(super) answer: Answer,
    notice: Option<Notice>,
    took: Option<Duration>,
}

impl Version {
    pub(super) fn new(package: Package, limits: &Limits, shared: &Shared) -> Self {
        Self {
            sandbox: Sandbox::new(package.clone(), *limits),
            suspension: shared.suspension(&package, limits),
            alert_length: limits.alert,
            package,
        }
    }

    /// Calls the rule, unless it is suspended.
    pub(super) fn ask(&mut self, context: &mut EvalContext<'_>) -> Evaluation {
        if let Some(left) = locked(&self.suspension).skips(|| context.known_time()) {
            return Evaluation { answer: Err(Fault::Suspended(left)), notice: None, took: None };
        }
        let event = context.json();
        let began = Instant::now();
        let answer = self.sandbox.evaluate(event);
        let took = Some(began.elapsed());
        let answer = answer.and_then(|answer| {
            let alert = |answer| {
                let answer = checked(answer, self.alert_length)?;
                Ok(Box::new(Alert::new(Arc::clone(self.package.about()), answer, context.event, context.tenant)))
            };
            answer.map(alert).transpose()
        });
        let notice = match &answer {
            Ok(_) => locked(&self.suspension).answered(),
            Err(_) => locked(&self.suspension).faulted(context.known_time()),
        };
        Evaluation { answer, notice, took }
    }
}

/// The period during which a version must not fault where its predecessor does not.
struct Probation {
    predecessor: Version,
    /// Number of calls that are left.
    left: u32,
}

/// A serving rule, with everything that belongs to one tenant only.
pub(super) struct ActiveRule {
    current: Version,
    probation: Option<Probation>,
    /// The version that was rolled back.
    failed: Option<Package>,
    /// The number of the last reinstatement that took effect.
    reinstatement: u64,
    alerts: Arc<Mutex<AlertBudget>>,
    exclusions: Vec<Exclusion>,
}

impl ActiveRule {
    /// Returns a rule that was not in the previous rule set. The rule set may name its predecessor nevertheless.
    pub(super) fn new(
        package: &Package,
        rules: &RuleSet,
        limits: &Limits,
        exclusions: &[Exclusion],
        shared: &Shared,
    ) -> Self {
        let probation = match rules.predecessor(package.rule_id()) {
            Predecessor::This(named) => {
                Some(Probation { predecessor: Version::new(named.clone(), limits, shared), left: Limits::PROBATION })
            }
            Predecessor::Own | Predecessor::None => None,
        };
        Self {
            exclusions: exclusions.iter().filter(|exclusion| exclusion.rule_id == package.rule_id()).cloned().collect(),
            current: Version::new(package.clone(), limits, shared),
            probation,
            failed: None,
            reinstatement: 0,
            alerts: shared.budget(package, limits),
        }
    }

    pub(super) fn package(&self) -> &Package {
        &self.current.package
    }

    /// Returns the rule for a new rule set. A new version is on probation, with its predecessor. Exclusions and the
    /// alert budget stay. A version that was rolled back here does not return unless it is reinstated.
    pub(super) fn refreshed(mut self, package: &Package, rules: &RuleSet, limits: &Limits, shared: &Shared) -> Self {
        let named = rules.predecessor(package.rule_id());
        let may_stay = |before: &Package| match named {
            Predecessor::Own => true,
            Predecessor::This(named) => named == before,
            Predecessor::None => false,
        };
        let reinstatement = rules.reinstatement(package).filter(|reinstatement| *reinstatement > self.reinstatement);
        let has_failed = self.failed.as_ref() == Some(package) && reinstatement.is_none();
        if self.current.package == *package || (has_failed && may_stay(&self.current.package)) {
            self.probation = self.probation.filter(|before| may_stay(&before.predecessor.package));
            return self;
        }
        let mut own = std::mem::replace(&mut self.current, Version::new(package.clone(), limits, shared));
        own.sandbox.reset();
        let before = match named {
            Predecessor::None => None,
            // If several versions were replaced between two events, this judge has never had the predecessor.
            Predecessor::This(named) if *named != own.package && self.failed.as_ref() != Some(named) => {
                Some(Version::new(named.clone(), limits, shared))
            }
            Predecessor::This(_) | Predecessor::Own => Some(own),
        };
        self.probation = before.map(|version| Probation { predecessor: version, left: Limits::PROBATION });
        self.failed = None;
        self.reinstatement = reinstatement.unwrap_or(self.reinstatement);
        self
    }

    /// Returns the verdict on an event that the prefilter lets through.
    pub(super) fn judge(&mut self, context: &mut EvalContext<'_>) -> RuleVerdict {
        let evaluation = self.current.ask(context);
        if let Err(fault) = &evaluation.answer
            // A suspension follows from faults on events on which the predecessor faulted too.
            && !matches!(fault, Fault::Suspended(_))
            && let Some(verdict) = self.verdict_of_predecessor(fault.clone(), context)
        {
            return verdict;
        }
        self.probation = self.probation.take().and_then(|before| {
            let left = before.left - 1;
            (left > 0).then_some(Probation { left, ..before })
        });
        self.verdict(evaluation, context)
    }

    /// Returns the predecessor's verdict after a fault during probation. If the predecessor does not fault, it is
    /// active again.
    fn verdict_of_predecessor(&mut self, fault: Fault, context: &mut EvalContext<'_>) -> Option<RuleVerdict> {
        let Probation { predecessor: version, .. } = self.probation.as_mut()?;
        let package = &version.package;
        if !package.subscribes_to(context.event.log_type) {
            return None;
        }
        let is_asked = package.prefilter().first_miss(context.event).is_none();
        let evaluation =
            if is_asked { Some(version.ask(context)).filter(|evaluation| evaluation.answer.is_ok()) } else { None };
        if is_asked && evaluation.is_none() {
            return None;
        }
        let failed = self.roll_back();
        let mut verdict = if let Some(evaluation) = evaluation {
            self.verdict(Evaluation { notice: None, ..evaluation }, context)
        } else {
            let package = self.current.package.clone();
            RuleVerdict { package, verdict: Verdict::Skipped, notices: Vec::new(), took: None }
        };
        verdict.notices.insert(0, Notice::RolledBack { package: failed, fault });
        Some(verdict)
    }

    /// Replaces the current version with its predecessor. Returns the version that failed.
    fn roll_back(&mut self) -> Package {
        let before = self.probation.take().expect("there is a predecessor").predecessor;
        let failed = std::mem::replace(&mut self.current, before).package;
        self.failed = Some(failed.clone());
        failed
    }

    fn verdict(&mut self, evaluation: Evaluation, context: &EvalContext<'_>) -> RuleVerdict {
        let Evaluation { answer, notice, took } = evaluation;
        let (verdict, matched) = match answer {
            Ok(Some(alert)) => self.matched(alert, context),
            Ok(None) => (Verdict::NoMatch, None),
            Err(fault) => (Verdict::Fault(fault), None),
        };
        let notices = notice.into_iter().chain(matched).collect();
        RuleVerdict { package: self.current.package.clone(), verdict, notices, took }
    }

    /// Returns the verdict for a match. A match beyond the alert budget is a fault that counts for no suspension;
    /// otherwise a client that makes a rule match often could silence it.
    fn matched(&mut self, alert: Box<Alert>, context: &EvalContext<'_>) -> (Verdict, Option<Notice>) {
        let covers = |exclusion: &&Exclusion| exclusion.covers(context.event, (context.clock)());
        if let Some(exclusion) = self.exclusions.iter().find(covers) {
            return (Verdict::Excluded { alert, reason: Arc::clone(&exclusion.reason) }, None);
        }
        let second = context.known_time().unwrap_or_else(context.clock).as_second();
        let mut alerts = locked(&self.alerts);
        let limit = alerts.limit();
        let over = |notice| (Verdict::Fault(Fault::Alerts(limit)), notice);
        match alerts.take(second) {
            Budget::Left => (Verdict::Alert(alert), None),
            Budget::UsedUp => over(Some(Notice::AlertsUsedUp)),
            Budget::Exceeded => over(None),
        }
    }
}
