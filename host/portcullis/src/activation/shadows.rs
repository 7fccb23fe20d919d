//! Begins and ends the shadows of a tenant's candidates.

use jiff::SignedDuration;

use super::candidate_check::Checked;
use super::entry::{Action, Entry};
use super::recorder::Recorder;
use super::rule_state::{InShadow, RefusalKind, RolledBack};
use super::tenant_rules::TenantRules;
use crate::rule_set::Shadow;

impl TenantRules {
    /// Begins the shadow of a candidate.
    pub(super) fn begin_shadow(&mut self, rule_id: &str, checked: Checked, recorder: &Recorder) {
        let Checked { package, test_cases } = checked;
        let entry = self.entry(Action::ShadowBegan, &package, Some(test_cases), recorder);
        recorder.record(entry);
        let shadow = Shadow::new(package, self.policy.shadow_events);
        let rule = self.rules.get_mut(rule_id).expect("it is there");
        rule.shadow = Some(InShadow { shadow, began: (recorder.clock)(), test_cases });
    }

    /// Ends a rule's shadow, if there is one, for this reason or because it is over.
    pub(super) fn end_shadow(&mut self, rule_id: &str, reason: Option<&str>, recorder: &Recorder) -> bool {
        let rule = self.rules.get_mut(rule_id).expect("it is there");
        let Some(InShadow { shadow: Shadow { package, tally }, test_cases, .. }) = rule.shadow.take() else {
            return false;
        };
        let report = tally.report();
        let fault = report.fault.as_ref().map(|fault| format!("it {fault}"));
        let reason = reason.map(ToOwned::to_owned).or(fault);
        let entry = self.entry(Action::ShadowEnded, &package, Some(test_cases), recorder);
        recorder.record(Entry { shadow: Some(report), reason, ..entry });
        true
    }

    /// Ends the shadows that are over. A candidate that did not fail becomes active; one that failed is refused.
    pub(super) fn end_finished_shadows(&mut self, recorder: &Recorder) {
        if self.is_starting {
            return;
        }
        let now = (recorder.clock)();
        let longest = self.policy.shadow_time.and_then(|time| SignedDuration::try_from(time).ok());
        let is_over = |shadow: &InShadow| {
            shadow.shadow.tally.is_over() || longest.is_some_and(|longest| now.duration_since(shadow.began) >= longest)
        };
        let over = self.rules.iter().filter(|(_, rule)| rule.shadow.as_ref().is_some_and(is_over));
        let over: Vec<String> = over.map(|(rule_id, _)| rule_id.clone()).collect();
        for rule_id in &over {
            let rule = &self.rules[rule_id];
            let Some(InShadow { shadow, test_cases, .. }) = &rule.shadow else { continue };
            let (package, test_cases) = (shadow.package.clone(), *test_cases);
            let fault = shadow.tally.report().fault;
            self.end_shadow(rule_id, None, recorder);
            match fault {
                None => self.activate(rule_id, Checked { package, test_cases }, recorder),
                Some(fault) => {
                    let reason =
                        format!("it failed in the shadow of the active version, which did not fail: it {fault}");
                    self.refuse(
                        rule_id,
                        package.candidate(),
                        reason.clone(),
                        RefusalKind::Failed,
                        Some(test_cases),
                        recorder,
                    );
                    let rolled_back = RolledBack { version: package.version().clone(), reason, reinstatement: None };
                    let rule = self.rules.get_mut(rule_id).expect("it is there");
                    rule.rolled_back.insert(package.sha256().to_owned(), rolled_back);
                }
            }
        }
        if !over.is_empty() {
            self.publish(recorder);
        }
    }

    /// Ends all shadows for this reason, even those that are not over.
    pub(super) fn end_shadows(&mut self, reason: &str, recorder: &Recorder) {
        if self.is_starting {
            // That they began is not recorded either.
            return;
        }
        let rule_ids: Vec<String> = self.rules.keys().cloned().collect();
        for rule_id in rule_ids {
            self.end_shadow(&rule_id, Some(reason), recorder);
        }
        recorder.publish(|| {});
    }
}
