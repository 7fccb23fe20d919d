//! One tenant that follows a store: which version of each rule is active, and which candidate comes next.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::history::{Action, Entry, VectorCounts};
use super::policy::{Activate, Pin, Policy};
use super::rule_state::{InShadow, Refused, RuleState, in_order};
use super::store::{Store, Versions};
use super::{Desk, Proof};
use crate::package::Candidate;
use crate::{Exchange, Fault, Limits, Package, RuleSet, vectors};

/// A tenant's rules out of a store.
pub(super) struct Following {
    pub(super) name: Arc<str>,
    pub(super) store: usize,
    pub(super) policy: Policy,
    pub(super) exchange: Arc<Exchange<RuleSet>>,
    limits: Limits,
    pub(super) rules: BTreeMap<String, RuleState>,
    /// What is wrong with files that are no packages, and has been said.
    told: HashSet<(String, Arc<str>)>,
    is_starting: bool,
}

/// A candidate that has proved itself.
pub(super) struct Proved {
    pub(super) package: Package,
    pub(super) vectors: VectorCounts,
}

impl Following {
    pub(super) fn new(name: Arc<str>, store: usize, policy: Policy, limits: Limits) -> Self {
        Self {
            name,
            store,
            policy,
            exchange: Arc::new(Exchange::new(Arc::new(RuleSet::default()))),
            limits,
            rules: BTreeMap::new(),
            told: HashSet::new(),
            is_starting: true,
        }
    }

    /// Brings what is active in line with what is in the store, one rule after the other.
    pub(super) fn follow(&mut self, store: &mut Store, desk: &Desk) {
        self.tell_of_broken_files(store, desk);
        let mut there = store.rules();
        for (rule_id, past) in desk.history.rules(&self.name) {
            self.rules.entry(rule_id.to_owned()).or_insert_with(|| RuleState::after(past));
        }
        for rule_id in there.keys() {
            self.rules.entry(rule_id.clone()).or_default();
        }
        let rule_ids: Vec<String> = self.rules.keys().cloned().collect();
        for rule_id in rule_ids {
            let versions = there.remove(&rule_id).unwrap_or_default();
            // Each at once, whatever others have yet to show; at the start, all together.
            if self.follow_rule(&rule_id, &versions, store, desk) && !self.is_starting {
                self.publish();
                desk.publish_entries();
            }
        }
        if std::mem::take(&mut self.is_starting) {
            self.publish();
        }
        desk.publish_entries();
    }

    /// Says of each file that is no package why, once.
    fn tell_of_broken_files(&mut self, store: &Store, desk: &Desk) {
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

    /// Finds the best of the versions that are there; whether anything about the rule has changed.
    fn follow_rule(&mut self, rule_id: &str, versions: &Versions, store: &mut Store, desk: &Desk) -> bool {
        let pin = self.policy.versions.get(rule_id).cloned();
        let mut changed = false;
        let mut found = false;
        if self.is_starting && self.policy.activate != Activate::Auto {
            self.go_on(rule_id, versions, pin.as_ref(), store, desk);
        }
        for candidate in in_order(versions, pin.as_ref()) {
            let rule = self.rules.get_mut(rule_id).expect("it is there");
            if rule.active.as_ref().is_some_and(|active| active.sha256() == candidate.sha256()) {
                rule.waiting = None;
                changed |= self.end_shadow(rule_id, Some("it is no longer wanted"), desk);
                found = true;
                break;
            }
            if rule.shadow.as_ref().is_some_and(|shadow| shadow.shadow.package.sha256() == candidate.sha256())
                && !matches!(pin, Some(Pin::Exact(_)))
            {
                return changed;
            }
            if rule.refused.contains_key(candidate.sha256()) {
                continue;
            }
            let is_named = matches!(pin, Some(Pin::Exact(_)));
            if rule.waiting.as_deref() == Some(candidate.sha256())
                && self.policy.activate == Activate::Manual
                && !is_named
            {
                return changed;
            }
            let same = &versions[candidate.version()];
            let objection = rule.objection(candidate, same, pin.as_ref(), self.is_starting);
            let proved = match objection {
                Some(objection) => Err((objection, None)),
                None => self.prove(candidate, store, desk.proof),
            };
            match proved {
                Err((reason, vectors)) => self.refuse(rule_id, candidate, reason, vectors, desk),
                Ok(proved) => {
                    changed |= self.end_shadow(rule_id, Some("another version has come"), desk);
                    changed |= self.take(rule_id, proved, is_named, desk);
                    found = true;
                    break;
                }
            }
        }
        if self.is_starting && !found && self.rules[rule_id].active.is_none() {
            self.go_on(rule_id, versions, None, store, desk);
        }
        changed | self.after_search(rule_id, versions, found, pin, store, desk)
    }

    /// Activates what was active when the process before this one ended: a candidate that may not take over at once needs
    /// something to wait behind.
    fn go_on(&mut self, rule_id: &str, versions: &Versions, pin: Option<&Pin>, store: &mut Store, desk: &Desk) {
        let rule = &self.rules[rule_id];
        let is_last = |candidate: &&Arc<Candidate>| {
            rule.last.as_ref().is_some_and(|(_, sha256)| sha256 == candidate.sha256())
                && !rule.refused.contains_key(candidate.sha256())
        };
        let Some(last) = in_order(versions, pin).into_iter().find(is_last) else { return };
        match self.prove(last, store, desk.proof) {
            Ok(proved) => self.activate(rule_id, proved, desk),
            Err((reason, vectors)) => self.refuse(rule_id, last, reason, vectors, desk),
        }
    }

    /// What is to do where no version was found: remove a rule that is gone, and say which pin nothing answers to.
    fn after_search(
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
            rule.active = None;
            rule.before = None;
            desk.record(entry);
            changed = true;
        }
        changed
    }

    /// A candidate that its signature, the gate and the compiler let through, and which passes its vectors under the
    /// tenant's limits; else why not.
    fn prove(
        &self,
        candidate: &Arc<Candidate>,
        store: &mut Store,
        proof: Proof,
    ) -> Result<Proved, (String, Option<VectorCounts>)> {
        let package = store.compile(candidate).map_err(|reason| (reason.to_string(), None))?;
        if proof == Proof::WithoutVectors {
            return Ok(Proved { package, vectors: VectorCounts { passed: 0, failed: 0 } });
        }
        let results = vectors::run(&package, self.limits, |_| true);
        let failed: Vec<_> = results.iter().filter(|result| !result.passed()).collect();
        let vectors = VectorCounts { passed: results.len() - failed.len(), failed: failed.len() };
        match failed.first() {
            None => Ok(Proved { package, vectors }),
            Some(first) => {
                let reason = format!(
                    "{} of its {} vectors fail; of {:?}, {} was expected, and it found {}",
                    failed.len(),
                    results.len(),
                    first.name,
                    first.expectation(),
                    first.found()
                );
                Err((reason, Some(vectors)))
            }
        }
    }

    /// What becomes of a candidate that has proved itself; whether the rule set changes.
    fn take(&mut self, rule_id: &str, proved: Proved, is_named: bool, desk: &Desk) -> bool {
        let rule = self.rules.get_mut(rule_id).expect("it is there");
        let sha256 = proved.package.sha256();
        let goes_on = self.is_starting && rule.last.as_ref().is_some_and(|(_, last)| last == sha256);
        let is_first = self.is_starting && rule.last.is_none() && rule.active.is_none();
        match self.policy.activate {
            _ if is_named || goes_on => self.activate(rule_id, proved, desk),
            Activate::Auto => self.activate(rule_id, proved, desk),
            Activate::ShadowThenAuto if is_first => self.activate(rule_id, proved, desk),
            Activate::ShadowThenAuto => self.begin_shadow(rule_id, proved, desk),
            Activate::Manual => {
                let version = proved.package.version();
                let reason =
                    format!("to activate it, pin it in the config: versions = {{ {rule_id:?} = \"{version}\" }}");
                rule.waiting = Some(sha256.to_owned());
                let entry = Entry {
                    reason: Some(reason),
                    ..self.entry(Action::Waiting, &proved.package, Some(proved.vectors), desk)
                };
                desk.record(entry);
                return false;
            }
        }
        true
    }

    pub(super) fn activate(&mut self, rule_id: &str, proved: Proved, desk: &Desk) {
        let Proved { package, vectors } = proved;
        let entry = self.entry(Action::Activated, &package, Some(vectors), desk);
        let rule = self.rules.get_mut(rule_id).expect("it is there");
        let last = rule.last.take().filter(|_| self.is_starting);
        let from = entry.from.clone().or_else(|| last.map(|(version, _)| version));
        let resumed = self.is_starting && from.as_ref() == Some(package.version());
        let action = if resumed { Action::Resumed } else { Action::Activated };
        if !package.spec().enabled {
            let version = package.version();
            desk.problem(Some(&self.name), format!("{rule_id} {version} is left out: its spec says Enabled: false"));
        }
        rule.activated.insert(package.version().clone(), package.sha256().to_owned());
        rule.refused.remove(package.sha256());
        rule.waiting = None;
        rule.before = rule.active.replace(package);
        desk.record(Entry { action, from, ..entry });
    }

    /// Says why a candidate does not become active, and remembers it.
    pub(super) fn refuse(
        &mut self,
        rule_id: &str,
        candidate: &Candidate,
        reason: String,
        vectors: Option<VectorCounts>,
        desk: &Desk,
    ) {
        let rule = self.rules.get_mut(rule_id).expect("it is there");
        let entry = Entry {
            rule_id: Some(rule_id.to_owned()),
            from: rule.active.as_ref().map(|active| active.version().clone()),
            to: Some(candidate.version().clone()),
            sha256: Some(candidate.sha256().to_owned()),
            signer: candidate.signer().map(ToString::to_string),
            file: Some(candidate.origin().to_owned()),
            vectors,
            reason: Some(reason.clone()),
            ..desk.entry(&self.name, Action::Refused)
        };
        let refused = Refused { reason, is_rolled_back: false };
        rule.refused.insert(candidate.sha256().to_owned(), refused);
        desk.record(entry);
    }

    /// A judge has put `package`'s predecessor back, because it failed on an event on which that did not.
    pub(super) fn rolled_back(&mut self, failed: &Package, to: &Package, fault: &Fault, desk: &Desk) {
        let Some(rule) = self.rules.get_mut(failed.rule_id()) else { return };
        // Of several judges, the first that reports it.
        if rule.active.as_ref() != Some(failed) {
            return;
        }
        let reason = format!("it {fault}, on an event on which {} did not", to.version());
        let refused = Refused { reason: reason.clone(), is_rolled_back: true };
        rule.refused.insert(failed.sha256().to_owned(), refused);
        let entry = Entry {
            to: Some(to.version().clone()),
            reason: Some(reason),
            ..self.entry(Action::RolledBack, failed, None, desk)
        };
        if let Some(rule) = self.rules.get_mut(failed.rule_id()) {
            rule.active = Some(to.clone());
            rule.before = None;
        }
        desk.record(entry);
        self.publish();
        desk.publish_entries();
    }

    /// The config has been read again: what was refused may pass now, and what is active may be trusted no more.
    pub(super) fn reconsider(&mut self, policy: Policy, desk: &Desk) {
        self.policy = policy;
        let (mut untrusted, mut not_trusted_in_shadow) = (Vec::new(), Vec::new());
        for (rule_id, rule) in &mut self.rules {
            let named = match self.policy.versions.get(rule_id) {
                Some(Pin::Exact(version)) => rule.activated.get(version).cloned(),
                _ => None,
            };
            rule.refused.retain(|sha256, refused| refused.is_rolled_back && named.as_ref() != Some(sha256));
            let keys = self.policy.trusted_keys.as_ref();
            let is_trusted = |package: &Package| {
                keys.is_none_or(|keys| package.signer().is_some_and(|signer| keys.contains(signer)))
            };
            if let Some(active) = rule.active.take_if(|active| !is_trusted(active)) {
                untrusted.push(active);
            }
            rule.before.take_if(|before| !is_trusted(before));
            if rule.shadow.as_ref().is_some_and(|shadow| !is_trusted(&shadow.shadow.package)) {
                not_trusted_in_shadow.push(rule_id.clone());
            }
        }
        for rule_id in &not_trusted_in_shadow {
            self.end_shadow(rule_id, Some("its signer is none of the trusted keys any more"), desk);
        }
        for package in &untrusted {
            let entry = Entry {
                from: Some(package.version().clone()),
                to: None,
                reason: Some("its signer is none of the trusted keys any more".to_owned()),
                ..self.entry(Action::Removed, package, None, desk)
            };
            desk.record(entry);
        }
        self.publish();
        desk.publish_entries();
    }

    /// An entry about a package, from what is active now.
    pub(super) fn entry(&self, action: Action, package: &Package, vectors: Option<VectorCounts>, desk: &Desk) -> Entry {
        let active = self.rules.get(package.rule_id()).and_then(|rule| rule.active.as_ref());
        Entry {
            rule_id: Some(package.rule_id().to_owned()),
            from: active.map(|active| active.version().clone()),
            to: Some(package.version().clone()),
            sha256: Some(package.sha256().to_owned()),
            signer: package.signer().map(ToString::to_string),
            file: Some(package.origin().to_owned()),
            vectors,
            ..desk.entry(&self.name, action)
        }
    }

    /// Publishes what is active and in shadow now.
    pub(super) fn publish(&self) {
        let enabled = |package: &&Package| package.spec().enabled;
        let active = self.rules.values().filter_map(|rule| rule.active.as_ref()).filter(enabled).cloned().collect();
        let before = self.rules.values().filter_map(|rule| rule.before.clone()).collect();
        let shadows = self.rules.values().filter_map(|rule| rule.shadow.as_ref());
        let shadows = shadows.map(|shadow| shadow.shadow.clone()).collect();
        let rules = RuleSet::new(active).expect("one package of each rule");
        self.exchange.publish(Arc::new(rules.with_predecessors(before).with_shadows(shadows)));
    }
}
