//! Changes from outside of the store: a config that was read again, and rollbacks by judges.

use super::entry::{Action, Entry};
use super::policy::{Pin, Policy};
use super::recorder::Recorder;
use super::rule_state::RolledBack;
use super::tenant_rules::TenantRules;
use crate::package::Package;

const UNTRUSTED: &str = "its signer is no longer a trusted key";

impl TenantRules {
    /// Records that a judge has put back the predecessor `to` of `failed`. The history already has the entry.
    pub(super) fn rolled_back(&mut self, failed: &Package, to: &Package, entry: &Entry, recorder: &Recorder) {
        let is_trusted = self.is_trusted(to);
        let Some(rule) = self.rules.get_mut(failed.rule_id()) else { return };
        let (version, reason) = (failed.version().clone(), entry.reason.clone().unwrap_or_default());
        let rolled_back = RolledBack { version, reason, reinstatement: None };
        rule.rolled_back.insert(failed.sha256().to_owned(), rolled_back);
        rule.predecessor.take_if(|before| before == failed);
        let is_older = |active: &Package| to.version() < active.version();
        if rule.active.as_ref() == Some(failed) {
            rule.active = Some(to.clone());
            rule.predecessor = None;
            if !is_trusted {
                self.remove_untrusted(to, recorder);
            }
        } else if rule.predecessor.is_none() && is_trusted && rule.active.as_ref().is_some_and(is_older) {
            // Another version has become active meanwhile; its predecessor is not the one that failed.
            rule.predecessor = Some(to.clone());
        }
        self.publish(recorder);
    }

    /// Removes an active version whose key is no longer trusted.
    fn remove_untrusted(&mut self, package: &Package, recorder: &Recorder) {
        let entry = self.entry(Action::Removed, package, None, recorder);
        recorder.record(Entry { to: None, reason: Some(UNTRUSTED.to_owned()), ..entry });
        if let Some(rule) = self.rules.get_mut(package.rule_id()) {
            rule.active = None;
        }
    }

    /// Sets the policy of a config that was read again. Refused packages may pass now, and active ones may no longer be
    /// trusted.
    pub(super) fn set_policy(&mut self, policy: Policy, recorder: &Recorder) {
        let shadow = |policy: &Policy| (policy.activate, policy.shadow_events, policy.shadow_time);
        let ends_shadows = shadow(&policy) != shadow(&self.policy);
        let before = std::mem::replace(&mut self.policy, policy);
        let rule_ids: Vec<String> = self.rules.keys().cloned().collect();
        for rule_id in &rule_ids {
            let rule = &self.rules[rule_id];
            let shadow = rule.shadow.as_ref().map(|shadow| &shadow.shadow.package);
            match shadow {
                Some(package) if !self.is_trusted(package) => drop(self.end_shadow(rule_id, Some(UNTRUSTED), recorder)),
                Some(_) if ends_shadows => drop(self.end_shadow(rule_id, Some("the config has changed"), recorder)),
                _ => {}
            }
            let rule = &self.rules[rule_id];
            let keeps_predecessor = rule.predecessor.as_ref().is_some_and(|before| self.is_trusted(before));
            if let Some(package) = rule.active.clone().filter(|active| !self.is_trusted(active)) {
                self.remove_untrusted(&package, recorder);
            }
            let pin = self.policy.versions.get(rule_id);
            let is_new = pin != before.versions.get(rule_id);
            let rule = self.rules.get_mut(rule_id).expect("it is there");
            // A start looks at all rules again.
            rule.is_started = false;
            if !keeps_predecessor {
                rule.predecessor = None;
            }
            for refused in rule.refused.values_mut() {
                refused.is_stale = true;
            }
            for (sha256, rolled_back) in &mut rule.rolled_back {
                let is_active = rule.active.as_ref().is_some_and(|active| active.sha256() == sha256);
                let is_pinned = matches!(pin, Some(Pin::Exact(version)) if *version == rolled_back.version);
                // Only writing the pin reinstates the version; a pin that was in the config already does not.
                if is_pinned && is_new {
                    rule.reinstatements += 1;
                    rolled_back.reinstatement = Some(rule.reinstatements);
                } else if !is_pinned && !is_active {
                    rolled_back.reinstatement = None;
                }
            }
        }
        self.publish(recorder);
    }

    fn is_trusted(&self, package: &Package) -> bool {
        let keys = self.policy.trusted_keys.as_ref();
        keys.is_none_or(|keys| package.signer().is_some_and(|signer| keys.contains(signer)))
    }
}
