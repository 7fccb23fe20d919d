//! What a tenant's store does not have: files that are no packages, versions that are pinned, rules that were removed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::Desk;
use super::following::Following;
use super::history::{Action, Entry};
use super::policy::Pin;
use super::rule_state::InShadow;
use super::store::{Store, Versions};

impl Following {
    /// Says of each file that is no package why, once.
    pub(super) fn tell_of_broken_files(&mut self, store: &Store, desk: &Desk) {
        let broken =
            store.files().filter_map(|(file, found)| Some((file.display().to_string(), found.as_ref().err()?)));
        let broken: HashSet<(String, Arc<str>)> = broken.map(|(file, why)| (file, Arc::clone(why))).collect();
        let mut new: Vec<_> = broken.difference(&self.told).cloned().collect();
        new.sort();
        for (file, reason) in new {
            let entry =
                Entry { file: Some(file), reason: Some(reason.to_string()), ..desk.entry(&self.name, Action::Refused) };
            desk.record(entry);
        }
        self.told = broken;
    }

    /// Says of each rule that is pinned, and of which there is no version, that there is none, once.
    pub(super) fn tell_of_idle_pins(&mut self, there: &BTreeMap<String, Versions>, desk: &Desk) {
        let idle = |rule_id: &&String| !there.contains_key(*rule_id) && !self.rules.contains_key(*rule_id);
        let idle: BTreeSet<String> = self.policy.versions.keys().filter(idle).cloned().collect();
        for rule_id in idle.difference(&self.idle_pins) {
            let known: Vec<&str> = there.keys().map(String::as_str).collect();
            let text = format!("versions: there is no package of {rule_id}; there are: {}", known.join(", "));
            desk.problem(Some(&self.name), text);
        }
        self.idle_pins = idle;
    }

    /// What is to do where no version was found: remove a rule that is gone, and say which pin nothing answers to.
    pub(super) fn after_search(
        &mut self,
        rule_id: &str,
        versions: &Versions,
        found: bool,
        pin: Option<Pin>,
        store: &Store,
        desk: &Desk,
    ) -> bool {
        let mut changed = false;
        if !found {
            let shadow_is_there = |shadow: &InShadow| versions.contains_key(shadow.shadow.package.version());
            let rule = self.rules.get_mut(rule_id).expect("it is there");
            if !rule.shadow.as_ref().is_some_and(shadow_is_there) {
                changed |= self.end_shadow(rule_id, Some("its file is gone"), desk);
            }
        }
        let rule = self.rules.get_mut(rule_id).expect("it is there");
        let missing = pin.filter(|pin| !found && !versions.keys().any(|version| pin.allows(version)));
        if let Some(pin) = &missing
            && rule.missing.as_ref() != Some(pin)
        {
            let there: Vec<String> = versions.keys().map(ToString::to_string).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            desk.missing(&self.name, format!("{rule_id} is pinned to {pin}, which is not there; there are: {there}"));
        }
        rule.missing = missing;
        if let Some(active) = &rule.active
            && versions.is_empty()
            && !store.may_be_coming(rule_id, active)
        {
            let entry = Entry {
                rule_id: Some(rule_id.to_owned()),
                from: Some(active.version().clone()),
                file: Some(active.origin().to_owned()),
                reason: Some("its file is gone".to_owned()),
                ..desk.entry(&self.name, Action::Removed)
            };
            let removed = rule.active.take();
            rule.last = removed.map(|removed| (removed.version().clone(), removed.sha256().to_owned()));
            rule.before = None;
            desk.record(entry);
            changed = true;
        }
        if let Some((version, _)) = &rule.last
            && self.is_starting
            && versions.is_empty()
        {
            let entry = Entry {
                rule_id: Some(rule_id.to_owned()),
                from: Some(version.clone()),
                reason: Some("its file is gone since it was active".to_owned()),
                ..desk.entry(&self.name, Action::Removed)
            };
            desk.record(entry);
        }
        changed
    }
}
