//! Things missing in a tenant's store: files that are not packages, pinned versions that do not exist, removed rules.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::entry::{Action, Entry};
use super::policy::Pin;
use super::recorder::Recorder;
use super::rule_state::RuleState;
use super::store::{Store, Versions};
use super::tenant_rules::TenantRules;

impl TenantRules {
    /// Notifies of each file that is not a package, once.
    pub(super) fn notify_of_broken_files(&mut self, store: &Store, recorder: &Recorder) {
        let broken =
            store.files().filter_map(|(file, found)| Some((file.display().to_string(), found.as_ref().err()?)));
        let broken: HashSet<(String, Arc<str>)> = broken.map(|(file, why)| (file, Arc::clone(why))).collect();
        let mut new: Vec<_> = broken.difference(&self.notified).cloned().collect();
        new.sort();
        for (file, reason) in new {
            let entry = Entry {
                file: Some(file),
                reason: Some(reason.to_string()),
                ..recorder.entry(&self.name, Action::Refused)
            };
            recorder.record(entry);
        }
        self.notified = broken;
    }

    /// Notifies of each pinned rule that has no package, once.
    pub(super) fn notify_of_unmatched_pins(&mut self, there: &BTreeMap<String, Versions>, recorder: &Recorder) {
        let idle = |rule_id: &&String| !there.contains_key(*rule_id) && !self.rules.contains_key(*rule_id);
        let idle: BTreeSet<String> = self.policy.versions.keys().filter(idle).cloned().collect();
        for rule_id in idle.difference(&self.unmatched_pins) {
            let known: Vec<&str> = there.keys().map(String::as_str).collect();
            let expected = if known.is_empty() {
                "there are no packages".to_owned()
            } else {
                format!("expected one of {}", known.join(", "))
            };
            let text = format!("versions: no package has the RuleID {rule_id}; {expected}");
            recorder.problem(Some(&self.name), text);
        }
        self.unmatched_pins = idle;
    }

    /// Handles a rule for which no version was found: removes it if its files are gone, and notifies of a pin that
    /// selects nothing.
    pub(super) fn finish_search(
        &mut self,
        rule_id: &str,
        versions: &Versions,
        found: bool,
        pin: Option<&Pin>,
        store: &Store,
        recorder: &Recorder,
    ) -> bool {
        let mut changed = false;
        if !found {
            changed |= self.end_shadow(rule_id, Some("its file is gone, or it is no longer selected"), recorder);
        }
        let rule = self.rules.get_mut(rule_id).expect("it is there");
        let missing = if found { None } else { rule.missing(rule_id, versions, pin, self.is_starting) };
        if let Some(missing) = &missing
            && rule.missing.as_ref() != Some(missing)
        {
            recorder.missing(&self.name, missing.clone());
        }
        rule.missing = missing;
        if let Some(active) = &rule.active
            && versions.is_empty()
            && !store.may_become_package(rule_id, active)
        {
            let entry = Entry {
                rule_id: Some(rule_id.to_owned()),
                from: Some(active.version().clone()),
                file: Some(active.origin().to_owned()),
                reason: Some("its file is gone".to_owned()),
                ..recorder.entry(&self.name, Action::Removed)
            };
            let removed = rule.active.take();
            rule.last = removed.map(|removed| (removed.version().clone(), removed.sha256().to_owned()));
            rule.predecessor = None;
            recorder.record(entry);
            changed = true;
        }
        if let Some((version, _)) = &rule.last
            && self.is_starting
            && rule.active.is_none()
        {
            let reason = if versions.is_empty() { "its file is gone" } else { "its file is gone, or it is refused" };
            let entry = Entry {
                rule_id: Some(rule_id.to_owned()),
                from: Some(version.clone()),
                reason: Some(format!("{reason}, since the previous run")),
                ..recorder.entry(&self.name, Action::Removed)
            };
            recorder.record(entry);
        }
        changed
    }
}

impl RuleState {
    /// Returns what the config selects but the store lacks, if no version was found: a pinned version, or at the start
    /// any version.
    fn missing(&self, rule_id: &str, versions: &Versions, pin: Option<&Pin>, is_starting: bool) -> Option<String> {
        let candidates = || versions.values().flatten();
        let wanted = || candidates().filter(|candidate| pin.is_none_or(|pin| pin.allows(candidate.version())));
        if let Some(pin) = pin.filter(|_| wanted().next().is_none()) {
            let there: Vec<String> = versions.keys().map(ToString::to_string).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            return Some(format!("{rule_id} is pinned to {pin}, which does not exist; existing versions: {there}"));
        }
        let barred = wanted().find_map(|candidate| self.barred(candidate.sha256()))?;
        let is_wanted = pin.is_some() || (is_starting && self.active.is_none());
        is_wanted.then(|| {
            format!(
                "{rule_id} {} was rolled back ({}); to try it again, pin exactly this version during a run; if it is \
                 pinned already, remove the pin and add it again",
                barred.version, barred.reason
            )
        })
    }
}
