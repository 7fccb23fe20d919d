//! What comes to a tenant from elsewhere: the config, when it has been read again, and what judges have done by themselves.

use super::Desk;
use super::following::Following;
use super::history::{Action, Entry};
use super::policy::{Pin, Policy};
use super::rule_state::{Refused, Why};
use crate::Package;

const UNTRUSTED: &str = "its signer is none of the trusted keys any more";

impl Following {
    /// A judge has put `package`'s predecessor back, because it failed on an event on which that did not. That is on
    /// record already.
    pub(super) fn rolled_back(&mut self, failed: &Package, to: &Package, entry: &Entry) {
        let is_trusted = self.is_trusted(to);
        let Some(rule) = self.rules.get_mut(failed.rule_id()) else { return };
        let reason = entry.reason.clone().unwrap_or_default();
        rule.refused.insert(failed.sha256().to_owned(), Refused::new(failed.version(), reason, Why::RolledBack));
        rule.before.take_if(|before| before == failed);
        if rule.active.as_ref() == Some(failed) {
            rule.active = is_trusted.then(|| to.clone());
            rule.before = None;
            rule.is_again = false;
        } else if rule.before.is_none() && is_trusted && rule.active.as_ref() != Some(to) {
            // Another version has come meanwhile: what it goes back to is not what failed.
            rule.before = Some(to.clone());
        }
        self.publish();
    }

    /// The config has been read again: what was refused may pass now, and what is active may be trusted no more.
    pub(super) fn reconsider(&mut self, policy: Policy, desk: &Desk) {
        let shadow = |policy: &Policy| (policy.activate, policy.shadow_events, policy.shadow_time);
        let ends_shadows = shadow(&policy) != shadow(&self.policy);
        self.policy = policy;
        let rule_ids: Vec<String> = self.rules.keys().cloned().collect();
        for rule_id in &rule_ids {
            let rule = &self.rules[rule_id];
            let shadow = rule.shadow.as_ref().map(|shadow| &shadow.shadow.package);
            match shadow {
                Some(package) if !self.is_trusted(package) => drop(self.end_shadow(rule_id, Some(UNTRUSTED), desk)),
                Some(_) if ends_shadows => drop(self.end_shadow(rule_id, Some("the config has changed"), desk)),
                _ => {}
            }
            let rule = &self.rules[rule_id];
            let untrusted = rule.active.clone().filter(|active| !self.is_trusted(active));
            let keeps_before = rule.before.as_ref().is_some_and(|before| self.is_trusted(before));
            if let Some(package) = &untrusted {
                let entry = self.entry(Action::Removed, package, None, desk);
                desk.record(Entry { to: None, reason: Some(UNTRUSTED.to_owned()), ..entry });
            }
            let named = match self.policy.versions.get(rule_id) {
                Some(Pin::Exact(version)) => Some(version),
                _ => None,
            };
            let rule = self.rules.get_mut(rule_id).expect("it is there");
            if untrusted.is_some() {
                rule.active = None;
            }
            if !keeps_before {
                rule.before = None;
            }
            for refused in rule.refused.values_mut() {
                refused.is_stale |= refused.why != Why::RolledBack || named == Some(&refused.version);
            }
        }
        self.publish();
        desk.publish_entries();
    }

    fn is_trusted(&self, package: &Package) -> bool {
        let keys = self.policy.trusted_keys.as_ref();
        keys.is_none_or(|keys| package.signer().is_some_and(|signer| keys.contains(signer)))
    }
}
