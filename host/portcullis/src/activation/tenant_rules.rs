//! The rules of one tenant: which version of each is active, and which candidate is next.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::candidate_check::{CheckFailure, Checked, check};
use super::checks::Checks;
use super::entry::{Action, Entry, TestCounts};
use super::policy::{Activate, Pin, Policy};
use super::recorder::Recorder;
use super::rule_state::{RefusalKind, Refused, RuleState, in_trial_order};
use super::store::{Store, Versions};
use crate::limits::Limits;
use crate::package::{Candidate, Package};
use crate::rule_set::{RuleSet, RuleSetCell};

/// A tenant's rules, which follow a store.
pub(super) struct TenantRules {
    pub(super) name: Arc<str>,
    pub(super) store: usize,
    pub(super) policy: Policy,
    pub(super) cell: Arc<RuleSetCell>,
    limits: Limits,
    pub(super) rules: BTreeMap<String, RuleState>,
    /// Files that are not packages, each with the reason, of which the operator was notified.
    pub(super) notified: HashSet<(String, Arc<str>)>,
    /// Pinned rules without any package, of which the operator was notified.
    pub(super) unmatched_pins: BTreeSet<String>,
    /// Whether some rule has not been looked at yet. Then no rule judges: a part of them would let events through.
    pub(super) is_starting: bool,
    /// Entries of the start, which are written when the rules judge.
    started: Vec<Entry>,
    /// The time at which the start began.
    since: Option<Instant>,
    /// Whether the first rules are not awaited, because the store cannot be read.
    is_given_up: bool,
}

impl TenantRules {
    pub(super) fn new(name: Arc<str>, store: usize, policy: Policy, limits: Limits) -> Self {
        Self {
            name,
            store,
            policy,
            cell: Arc::new(RuleSetCell::new(Arc::new(RuleSet::awaited(Instant::now())))),
            limits,
            rules: BTreeMap::new(),
            notified: HashSet::new(),
            unmatched_pins: BTreeSet::new(),
            is_starting: true,
            started: Vec::new(),
            since: None,
            is_given_up: false,
        }
    }

    /// Notes that the store cannot be read: nothing waits for the first rules any more.
    pub(super) fn cannot_follow(&mut self) {
        if self.is_starting && !std::mem::replace(&mut self.is_given_up, true) {
            self.cell.publish(Arc::new(RuleSet::default()));
        }
    }

    /// Updates the active versions, one rule after the other, from the packages in the store, as far as `checks` allow.
    pub(super) fn follow(&mut self, store: &mut Store, recorder: &Recorder, checks: &mut Checks) {
        if self.is_starting && (self.since.is_none() || std::mem::take(&mut self.is_given_up)) {
            let since = *self.since.get_or_insert_with(Instant::now);
            self.cell.publish(Arc::new(RuleSet::awaited(since)));
        }
        self.notify_of_broken_files(store, recorder);
        let mut there = store.rules();
        self.notify_of_unmatched_pins(&there, recorder);
        for (rule_id, past) in recorder.history.past().rules(&self.name) {
            self.rules.entry(rule_id.to_owned()).or_insert_with(|| RuleState::after(past));
        }
        for rule_id in there.keys() {
            self.rules.entry(rule_id.clone()).or_default();
        }
        let rule_ids: Vec<String> = self.rules.keys().cloned().collect();
        for rule_id in rule_ids {
            let versions = there.remove(&rule_id).unwrap_or_default();
            if self.is_starting {
                self.start_rule(&rule_id, &versions, store, recorder, checks);
            } else if self.follow_rule(&rule_id, &versions, store, recorder, checks) {
                // A changed rule is published immediately, before other candidates are checked.
                self.publish(recorder);
            }
        }
        if self.is_starting {
            self.end_start(recorder);
        } else {
            recorder.publish(|| {});
        }
    }

    /// Looks at a rule for the first time, unless this has happened.
    fn start_rule(
        &mut self,
        rule_id: &str,
        versions: &Versions,
        store: &mut Store,
        recorder: &Recorder,
        checks: &mut Checks,
    ) {
        if self.rules[rule_id].is_started {
            return;
        }
        let mut own = *checks;
        own.is_unfinished = false;
        if self.resume(rule_id, versions, store, recorder, &mut own) {
            self.follow_rule(rule_id, versions, store, recorder, &mut own);
        }
        let rule = self.rules.get_mut(rule_id).expect("it is there");
        // A newer version than the one that has resumed does not hold up the start.
        rule.is_started = !own.is_unfinished || rule.active.is_some();
        own.is_unfinished |= checks.is_unfinished;
        *checks = own;
    }

    /// Publishes the first rules if all have been looked at. Until then, the operator is notified of refusals only.
    fn end_start(&mut self, recorder: &Recorder) {
        self.keep_entries(recorder);
        if self.rules.values().all(|rule| rule.is_started) {
            self.is_starting = false;
            recorder.entries.borrow_mut().append(&mut std::mem::take(&mut self.started));
            self.publish(recorder);
            recorder.started(&self.name, self.cell.newer(&mut 0).as_deref());
        } else {
            let refusals = self.started.extract_if(.., |entry| entry.action == Action::Refused);
            recorder.entries.borrow_mut().extend(refusals);
            recorder.publish(|| {});
        }
    }

    /// Finds the best version of a rule. Returns whether anything about the rule has changed.
    fn follow_rule(
        &mut self,
        rule_id: &str,
        versions: &Versions,
        store: &mut Store,
        recorder: &Recorder,
        checks: &mut Checks,
    ) -> bool {
        let pin = self.policy.versions.get(rule_id).cloned();
        let mut changed = false;
        let mut found = false;
        for candidate in in_trial_order(versions, pin.as_ref()) {
            let rule = self.rules.get_mut(rule_id).expect("it is there");
            if rule.active.as_ref().is_some_and(|active| active.sha256() == candidate.sha256()) {
                rule.waiting = None;
                changed |= self.end_shadow(rule_id, Some("it is no longer selected"), recorder);
                found = true;
                break;
            }
            if rule.barred(candidate.sha256()).is_some() {
                continue;
            }
            // An objection may be gone by now, such as another file with the same version.
            let same = &versions[candidate.version()];
            if let Some(objection) = rule.objection(candidate, same, pin.as_ref()) {
                self.refuse(rule_id, candidate, objection, RefusalKind::Objection, None, recorder);
                continue;
            }
            if rule.refused.get(candidate.sha256()).is_some_and(|refused| refused.is_final((recorder.clock)())) {
                continue;
            }
            let is_pinned = matches!(pin, Some(Pin::Exact(_)));
            let waits = self.policy.activate == Activate::Manual && rule.waiting.as_deref() == Some(candidate.sha256());
            let in_shadow = rule.shadow.as_ref().map(|shadow| shadow.shadow.package.sha256());
            if !is_pinned && (waits || (rule.active.is_some() && in_shadow == Some(candidate.sha256()))) {
                return changed;
            }
            // A rule that is pinned, or whose active version is gone or revoked, does not wait for others. A rule that was
            // never active does.
            let is_gone = |active: &Package| !versions.values().flatten().any(|it| it.sha256() == active.sha256());
            let is_urgent = pin.is_some() || rule.active.as_ref().map_or(!rule.activated.is_empty(), is_gone);
            if !checks.take(is_urgent) {
                return changed;
            }
            match check(candidate, store, self.limits, recorder.checks, recorder.clock) {
                Err(CheckFailure { reason, kind, test_cases }) => {
                    self.refuse(rule_id, candidate, reason, kind, test_cases, recorder);
                }
                Ok(checked) => {
                    changed |= self.end_shadow(rule_id, Some("another version replaces it"), recorder);
                    changed |= self.take(rule_id, checked, is_pinned, recorder);
                    found = true;
                    break;
                }
            }
        }
        changed | self.finish_search(rule_id, versions, found, pin.as_ref(), store, recorder)
    }

    /// Activates the version that was active when the previous process ended, even if another one is wanted now. A
    /// candidate can then run in its shadow, or roll back to it. Returns whether no such version waits for its check.
    fn resume(
        &mut self,
        rule_id: &str,
        versions: &Versions,
        store: &mut Store,
        recorder: &Recorder,
        checks: &mut Checks,
    ) -> bool {
        let rule = &self.rules[rule_id];
        let is_last = |candidate: &&Arc<Candidate>| {
            rule.last.as_ref().is_some_and(|(_, sha256)| sha256 == candidate.sha256())
                && !rule.refused.contains_key(candidate.sha256())
                && rule.barred(candidate.sha256()).is_none()
        };
        let Some(last) = in_trial_order(versions, None).into_iter().find(is_last) else { return true };
        if !checks.take(true) {
            return false;
        }
        match check(last, store, self.limits, recorder.checks, recorder.clock) {
            Ok(checked) => self.activate(rule_id, checked, recorder),
            Err(CheckFailure { reason, kind, test_cases }) => {
                self.refuse(rule_id, last, reason, kind, test_cases, recorder);
            }
        }
        true
    }

    /// Activates a candidate that has passed its checks, begins its shadow, or lets it wait. Returns whether the rule
    /// set changes.
    fn take(&mut self, rule_id: &str, checked: Checked, is_pinned: bool, recorder: &Recorder) -> bool {
        let rule = self.rules.get_mut(rule_id).expect("it is there");
        let sha256 = checked.package.sha256();
        let resumes = rule.active.is_none() && rule.last.as_ref().is_some_and(|(_, last)| last == sha256);
        match self.policy.activate {
            _ if is_pinned || resumes => self.activate(rule_id, checked, recorder),
            Activate::Auto => self.activate(rule_id, checked, recorder),
            // Without an active version, or for a disabled rule, a shadow has nothing to compare.
            Activate::ShadowThenAuto if rule.active.is_none() || !checked.package.spec().enabled => {
                self.activate(rule_id, checked, recorder);
            }
            Activate::ShadowThenAuto => self.begin_shadow(rule_id, checked, recorder),
            Activate::Manual => {
                let version = checked.package.version();
                let reason =
                    format!("to activate it, pin it in the config: versions = {{ {rule_id:?} = \"{version}\" }}");
                rule.waiting = Some(sha256.to_owned());
                let entry = Entry {
                    reason: Some(reason),
                    ..self.entry(Action::Waiting, &checked.package, Some(checked.test_cases), recorder)
                };
                recorder.record(entry);
                return false;
            }
        }
        true
    }

    pub(super) fn activate(&mut self, rule_id: &str, checked: Checked, recorder: &Recorder) {
        let Checked { package, test_cases } = checked;
        let entry = self.entry(Action::Activated, &package, Some(test_cases), recorder);
        let rule = self.rules.get_mut(rule_id).expect("it is there");
        let last = rule.last.take().filter(|_| self.is_starting);
        let from = entry.from.clone().or_else(|| last.map(|(version, _)| version));
        let resumed = self.is_starting && from.as_ref() == Some(package.version());
        let action = if resumed { Action::Resumed } else { Action::Activated };
        if !package.spec().enabled {
            let version = package.version();
            recorder
                .problem(Some(&self.name), format!("{rule_id} {version} does not run: its spec has Enabled: false"));
        }
        rule.activated.insert(package.version().clone(), package.sha256().to_owned());
        rule.refused.remove(package.sha256());
        rule.waiting = None;
        // An operator who pins an older version does not want to return to the newer one.
        let is_newer = |before: &Package| before.version() < package.version();
        rule.predecessor = rule.active.take().filter(is_newer);
        rule.active = Some(package);
        recorder.record(Entry { action, from, ..entry });
    }

    /// Records why a candidate does not become active.
    pub(super) fn refuse(
        &mut self,
        rule_id: &str,
        candidate: &Candidate,
        reason: String,
        kind: RefusalKind,
        test_cases: Option<TestCounts>,
        recorder: &Recorder,
    ) {
        let rule = self.rules.get_mut(rule_id).expect("it is there");
        let refused = Refused { reason: reason.clone(), kind, is_stale: false };
        let before = rule.refused.insert(candidate.sha256().to_owned(), refused);
        if before.is_some_and(|before| before.reason == reason) {
            return;
        }
        let from = rule.active.as_ref().map(|active| active.version().clone());
        let entry = recorder.entry(&self.name, Action::Refused).about(candidate);
        recorder.record(Entry { from, test_cases, reason: Some(reason), ..entry });
    }

    /// Returns an entry about a package, with the version that is active now.
    pub(super) fn entry(
        &self,
        action: Action,
        package: &Package,
        test_cases: Option<TestCounts>,
        recorder: &Recorder,
    ) -> Entry {
        let active = self.rules.get(package.rule_id()).and_then(|rule| rule.active.as_ref());
        let from = active.map(|active| active.version().clone());
        Entry { from, test_cases, ..recorder.entry(&self.name, action).about(package.candidate()) }
    }

    /// Publishes the active versions and the shadows, and writes the recorded entries before any entry about their
    /// rollback.
    pub(super) fn publish(&mut self, recorder: &Recorder) {
        if self.is_starting {
            self.keep_entries(recorder);
            return;
        }
        recorder.publish(|| self.cell.publish(Arc::new(self.rule_set())));
    }

    /// Keeps the recorded entries until the start has ended. Those of a strict start stay where they are, because they
    /// are written when all tenants have started.
    fn keep_entries(&mut self, recorder: &Recorder) {
        if !recorder.is_strict.get() {
            self.started.append(&mut recorder.entries.borrow_mut());
        }
    }

    fn rule_set(&self) -> RuleSet {
        let enabled = |package: &&Package| package.spec().enabled;
        let active = self.rules.values().filter_map(|rule| rule.active.as_ref()).filter(enabled).cloned().collect();
        let is_disabled = |rule: &RuleState| rule.active.as_ref().is_some_and(|package| !package.spec().enabled);
        let has_disabled = self.rules.values().any(is_disabled);
        let predecessors =
            self.rules.values().filter_map(|rule| rule.predecessor.as_ref()).filter(enabled).cloned().collect();
        let reinstatement = |rule: &RuleState| {
            let active = rule.active.as_ref()?;
            Some((active.clone(), rule.rolled_back.get(active.sha256())?.reinstatement?))
        };
        let reinstated = self.rules.values().filter_map(reinstatement).collect();
        let shadows = self.rules.values().filter_map(|rule| rule.shadow.as_ref());
        let shadows = shadows.map(|shadow| shadow.shadow.clone()).collect();
        let rules = RuleSet::new(active).expect("one package of each rule");
        let rules = rules.with_predecessors(predecessors).with_reinstated(reinstated).with_shadows(shadows);
        rules.with_disabled(has_disabled)
    }
}
