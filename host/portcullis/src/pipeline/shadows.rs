//! Runs the candidates in shadow.

use super::active_rule::{EvalContext, Version};
use super::shared::Shared;
use super::verdicts::{RuleVerdict, Verdict};
use crate::limits::Limits;
use crate::package::Package;
use crate::rule_set::{Candidates, RuleSet, Shadow};
use crate::sandbox::Fault;

/// A version for each candidate in shadow, in the rule set's order.
#[derive(Default)]
pub(super) struct Shadows(Vec<Version>);

impl Shadows {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Switches to the candidates in shadow of a rule set. Those that stay keep their instances.
    pub(super) fn refresh(&mut self, rules: &RuleSet, limits: &Limits, shared: &Shared) {
        let mut before = std::mem::take(&mut self.0);
        let mut version = |Shadow { package, .. }: &Shadow| {
            let known = before.iter().position(|version| version.package == *package);
            let new = || Version::new(package.clone(), limits, shared);
            known.map_or_else(new, |place| before.swap_remove(place))
        };
        self.0 = rules.shadows().iter().map(&mut version).collect();
    }

    /// Calls the candidates in shadow that the index or `prefilters` let through. Counts their verdicts against the
    /// `verdicts` of the `serving` versions.
    pub(super) fn judge(
        &mut self,
        rules: &RuleSet,
        candidates: &Candidates,
        prefilters: bool,
        serving: &[Package],
        verdicts: &[RuleVerdict],
        context: &mut EvalContext<'_>,
    ) {
        let shadows = rules.shadows().iter().zip(&mut self.0).enumerate();
        for (number, (Shadow { package, tally }, version)) in shadows.filter(|(_, (shadow, _))| !shadow.tally.is_over())
        {
            let active = verdicts.iter().find(|verdict| verdict.package.rule_id() == package.rule_id());
            let subscribes = package.subscribes_to(context.event.log_type);
            let is_rule = |active: &&Package| active.rule_id() == package.rule_id();
            let active_subscribes =
                || serving.iter().find(is_rule).is_some_and(|active| active.subscribes_to(context.event.log_type));
            if !subscribes && !active_subscribes() {
                continue;
            }
            let active = active.map_or(Ok(false), |active| match active.verdict {
                Verdict::Alert(_) | Verdict::Excluded { .. } | Verdict::Fault(Fault::Alerts(_)) => Ok(true),
                Verdict::NoMatch | Verdict::Skipped => Ok(false),
                Verdict::Fault(_) => Err(()),
            });
            let is_asked = candidates.contains(number) || (subscribes && !prefilters);
            let candidate =
                if is_asked { version.ask(context).answer.map(|answer| answer.is_some()) } else { Ok(false) };
            tally.count(context.event.audit_id.as_deref(), active, candidate);
        }
    }
}
