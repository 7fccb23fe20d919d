//! One tenant that follows a store: which version of each rule is active, and which candidate comes next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use semver::Version;

use crate::activation::history::{Action, Entry, Past, VectorCounts};
use crate::activation::policy::{Activate, Pin, Policy};
use crate::activation::store::{Store, Versions};
use crate::activation::{Desk, Proof};
use crate::package::Candidate;
use crate::{Exchange, Fault, Limits, Package, RuleSet, Shadow, vectors};

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

/// One rule of the tenant.
#[derive(Default)]
pub(super) struct RuleState {
    pub(super) active: Option<Package>,
    /// What it has replaced.
    before: Option<Package>,
    /// Every version that ever was active, and the SHA-256 of its package.
    activated: BTreeMap<Version, String>,
    /// What was active when the process before this one ended: version and SHA-256.
    last: Option<(Version, String)>,
    /// By their SHA-256 the packages that are not tried again.
    pub(super) refused: BTreeMap<String, Refused>,
    pub(super) shadow: Option<InShadow>,
    pub(super) waiting: Option<String>,
    /// A pin that nothing answers to, and which has been said.
    missing: Option<Pin>,
}

/// Why a package is not tried again.
pub(super) struct Refused {
    pub(super) reason: String,
    /// It failed on live events: only who names it gets it again. Else it could pass another time, under another config.
    is_rolled_back: bool,
}

pub(super) struct InShadow {
    pub(super) shadow: Shadow,
    began: Timestamp,
    vectors: VectorCounts,
}

/// A candidate that has proved itself.
struct Proved {
    package: Package,
    vectors: VectorCounts,
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
                    changed |= self.take(rule_id, proved, matches!(pin, Some(Pin::Exact(_))), desk);
                    found = true;
                    break;
                }
            }
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
            desk.problem(
                Some(&self.name),
                format!("{rule_id} is pinned to {pin}, which is not there; there are: {there}"),
            );
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
            Activate::Manual if rule.waiting.as_deref() == Some(sha256) => return false,
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

    fn activate(&mut self, rule_id: &str, proved: Proved, desk: &Desk) {
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

    fn begin_shadow(&mut self, rule_id: &str, proved: Proved, desk: &Desk) {
        let Proved { package, vectors } = proved;
        let entry = self.entry(Action::ShadowBegan, &package, Some(vectors), desk);
        desk.record(entry);
        let shadow = Shadow::new(package, self.policy.shadow_events);
        let rule = self.rules.get_mut(rule_id).expect("it is there");
        rule.shadow = Some(InShadow { shadow, began: (desk.clock)(), vectors });
    }

    /// Ends a rule's shadow, if there is one: for this reason, or because it is over.
    fn end_shadow(&mut self, rule_id: &str, reason: Option<&str>, desk: &Desk) -> bool {
        let rule = self.rules.get_mut(rule_id).expect("it is there");
        let Some(InShadow { shadow: Shadow { package, tally }, vectors, .. }) = rule.shadow.take() else {
            return false;
        };
        let report = tally.report();
        let fault = report.fault.as_ref().map(|fault| format!("it {fault}"));
        let reason = reason.map(ToOwned::to_owned).or(fault);
        let entry = self.entry(Action::ShadowEnded, &package, Some(vectors), desk);
        desk.record(Entry { shadow: Some(report), reason, ..entry });
        true
    }

    /// Looks after the candidates in shadow: those that have seen enough become active, those that failed are refused.
    pub(super) fn look_after_shadows(&mut self, desk: &Desk) {
        let now = (desk.clock)();
        let longest = self.policy.shadow_time.and_then(|time| SignedDuration::try_from(time).ok());
        let is_over = |shadow: &InShadow| {
            shadow.shadow.tally.is_over() || longest.is_some_and(|longest| now.duration_since(shadow.began) >= longest)
        };
        let over = self.rules.iter().filter(|(_, rule)| rule.shadow.as_ref().is_some_and(is_over));
        let over: Vec<String> = over.map(|(rule_id, _)| rule_id.clone()).collect();
        for rule_id in &over {
            let rule = &self.rules[rule_id];
            let Some(InShadow { shadow, vectors, .. }) = &rule.shadow else { continue };
            let (package, vectors) = (shadow.package.clone(), *vectors);
            let fault = shadow.tally.report().fault;
            self.end_shadow(rule_id, None, desk);
            match fault {
                None => self.activate(rule_id, Proved { package, vectors }, desk),
                Some(fault) => {
                    let reason = format!("it failed in the shadow of the active version, which did not: it {fault}");
                    self.refuse(rule_id, package.candidate(), reason, Some(vectors), desk);
                }
            }
        }
        if !over.is_empty() {
            self.publish();
            desk.publish_entries();
        }
    }

    /// Ends all shadows, whatever they have seen, for this reason.
    pub(super) fn end_shadows(&mut self, reason: &str, desk: &Desk) {
        let rule_ids: Vec<String> = self.rules.keys().cloned().collect();
        for rule_id in rule_ids {
            self.end_shadow(&rule_id, Some(reason), desk);
        }
        desk.publish_entries();
    }

    fn refuse(
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
    fn entry(&self, action: Action, package: &Package, vectors: Option<VectorCounts>, desk: &Desk) -> Entry {
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

    fn publish(&self) {
        let enabled = |package: &&Package| package.spec().enabled;
        let active = self.rules.values().filter_map(|rule| rule.active.as_ref()).filter(enabled).cloned().collect();
        let before = self.rules.values().filter_map(|rule| rule.before.clone()).collect();
        let shadows = self.rules.values().filter_map(|rule| rule.shadow.as_ref());
        let shadows = shadows.map(|shadow| shadow.shadow.clone()).collect();
        let rules = RuleSet::new(active).expect("one package of each rule");
        self.exchange.publish(Arc::new(rules.with_predecessors(before).with_shadows(shadows)));
    }
}

impl RuleState {
    /// As the history left it.
    fn after(past: &Past) -> Self {
        let rolled_back = past.refused.iter().filter(|(_, entry)| entry.action == Action::RolledBack);
        let refused = |(sha256, entry): (&String, &Entry)| {
            (sha256.clone(), Refused { reason: entry.reason.clone().unwrap_or_default(), is_rolled_back: true })
        };
        Self {
            activated: past.activated.clone(),
            last: past.active.as_ref().map(|(version, sha256, _)| (version.clone(), sha256.clone())),
            refused: rolled_back.map(refused).collect(),
            ..Self::default()
        }
    }

    /// What speaks against a candidate before anything of it is compiled.
    fn objection(
        &self,
        candidate: &Candidate,
        same: &[Arc<Candidate>],
        pin: Option<&Pin>,
        is_starting: bool,
    ) -> Option<String> {
        let version = candidate.version();
        if let [first, second, ..] = same {
            return Some(format!(
                "it is there twice, with different bytes, in {} and in {}; one version is one package: remove one of them",
                first.origin(),
                second.origin()
            ));
        }
        if self.activated.get(version).is_some_and(|sha256| sha256 != candidate.sha256()) {
            return Some(
                "a package with other bytes was active as this version; one version is one package: give it another"
                    .to_owned(),
            );
        }
        let goes_on = is_starting && self.last.as_ref().is_some_and(|(_, sha256)| sha256 == candidate.sha256());
        if goes_on || matches!(pin, Some(Pin::Exact(_))) {
            return None;
        }
        let was_good = |sha256: &String| !self.refused.get(sha256).is_some_and(|refused| refused.is_rolled_back);
        let activated = self.activated.iter().filter(|(_, sha256)| was_good(sha256)).map(|(version, _)| version);
        let newest = activated.filter(|version| pin.is_none_or(|pin| pin.allows(version))).max()?;
        (version < newest).then(|| {
            format!(
                "it is older than {newest}, which was active; to roll back on purpose, pin it in the config: \
                 versions = {{ {:?} = \"{version}\" }}",
                candidate.rule_id()
            )
        })
    }
}

/// The versions that a rule may have, in the order in which they are tried: the newest first, and those that are no
/// pre-releases before all that are.
fn in_order<'a>(versions: &'a Versions, pin: Option<&'a Pin>) -> Vec<&'a Arc<Candidate>> {
    let mut allowed: Vec<&Arc<Candidate>> =
        versions.values().flatten().filter(|candidate| pin.is_none_or(|pin| pin.allows(candidate.version()))).collect();
    allowed.sort_by_key(|candidate| Reverse((candidate.version().pre.is_empty(), candidate.version().clone())));
    allowed
}
