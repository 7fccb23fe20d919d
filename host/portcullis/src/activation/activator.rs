//! Updates the rule sets of tenants when the packages in their stores change.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::candidate_check::TEST_CASES_TIME;
use super::checks::Checks;
use super::history::History;
use super::policy::Policy;
use super::recorder::{ActivationError, ActivationNotice, Recorder, RequiredChecks};
use super::store::Store;
use super::tenant_rules::TenantRules;
use crate::limits::Limits;
use crate::package::Compiler;
use crate::rule_set::{FolderError, RuleSetCell};

/// Maximum time of following all candidates in one go.
const PATIENCE: Duration = Duration::from_mins(5);

/// Time after which a turn ends with the check that it is at.
const LONG_TURN: Duration = Duration::from_millis(100);

/// Keeps the rule sets of tenants up to date with the stores that they follow.
pub struct Activator {
    pub(super) recorder: Recorder,
    pub(super) stores: Vec<Store>,
    pub(super) tenants: Vec<TenantRules>,
    /// For each store, the last error of reading it, of which the operator was notified.
    unreadable: Vec<Option<String>>,
    /// For each tenant, the time that its turns took lately beyond those of others, and the number of its last check.
    spent: Vec<(Duration, u64)>,
    /// The time of the last turn.
    last_turn: Instant,
    /// The number of checks in turns that were not urgent.
    checks: u64,
}

impl Activator {
    /// Returns an activator without tenants. `notify` receives what happens, in order.
    #[must_use]
    pub fn new(
        history: Arc<History>,
        checks: RequiredChecks,
        clock: fn() -> Timestamp,
        notify: impl Fn(ActivationNotice) + Send + 'static,
    ) -> Self {
        let recorder = Recorder {
            known: RefCell::new(history.past().clone()),
            history,
            clock,
            checks,
            notify: Box::new(notify),
            entries: RefCell::default(),
            is_strict: Cell::new(false),
            missing: RefCell::new(None),
        };
        Self {
            recorder,
            stores: Vec::new(),
            tenants: Vec::new(),
            unreadable: Vec::new(),
            spent: Vec::new(),
            last_turn: Instant::now(),
            checks: 0,
        }
    }

    /// Adds a store of packages in these files and folders, which this compiler compiles. Returns the store's number.
    pub fn add_store(&mut self, paths: Vec<PathBuf>, compiler: Compiler) -> usize {
        self.stores.push(Store::new(paths, compiler));
        self.unreadable.push(None);
        self.stores.len() - 1
    }

    /// Adds a tenant that follows a store, with these limits. Returns the tenant's number.
    ///
    /// # Panics
    /// There is no store with this number.
    pub fn add_tenant(&mut self, name: Arc<str>, store: usize, policy: Policy, limits: Limits) -> usize {
        assert!(store < self.stores.len(), "there is no store {store}");
        self.tenants.push(TenantRules::new(name, store, policy, limits));
        self.spent.push((Duration::ZERO, 0));
        self.tenants.len() - 1
    }

    /// Returns the cell in which a tenant's rule sets are published.
    ///
    /// # Panics
    /// There is no tenant with this number.
    #[must_use]
    pub fn cell(&self, tenant: usize) -> Arc<RuleSetCell> {
        Arc::clone(&self.tenants[tenant].cell)
    }

    /// Activates the rules of all tenants for the first time, or none: a refused package is an error.
    ///
    /// # Errors
    /// The number of the first tenant that cannot start, and why: its store cannot be read or has no package, a package
    /// is refused, or a rule has no version that can be active.
    pub fn start_strictly(&mut self) -> Result<(), (usize, ActivationError)> {
        self.recorder.is_strict.set(true);
        // Tenants that share a store start with the same files.
        let mut scanned = HashSet::new();
        let wrong = (0..self.tenants.len()).find_map(|tenant| Some((tenant, self.start(tenant, &mut scanned).err()?)));
        self.recorder.is_strict.set(false);
        self.recorder.end_strict_start(wrong.is_none());
        wrong.map_or(Ok(()), Err)
    }

    fn start(&mut self, tenant: usize, scanned: &mut HashSet<usize>) -> Result<(), ActivationError> {
        let number = self.tenants[tenant].store;
        let store = &mut self.stores[number];
        if scanned.insert(number) {
            store.scan()?;
            if store.files().next().is_none() {
                return Err(FolderError::Empty(store.paths.first().cloned().unwrap_or_default()).into());
            }
            store.compile_ahead();
        }
        self.tenants[tenant].follow(store, &self.recorder, &mut Checks::all());
        self.recorder.startup_error().map_or(Ok(()), Err)
    }

    /// Reads the stores and updates the rule sets. If a store cannot be read, the active versions stay active. After some
    /// minutes, candidates may be left for rules that have an active version.
    pub fn follow(&mut self) {
        let began = Instant::now();
        self.scan();
        self.stores.iter_mut().for_each(Store::compile_ahead);
        // Candidates whose compilation the machine prevented come again and again.
        let is_starting = |Self { tenants, unreadable, .. }: &Self| {
            tenants.iter().any(|tenant| tenant.is_starting && unreadable[tenant.store].is_none())
        };
        loop {
            self.scan();
            if !self.follow_for_a_turn() || (began.elapsed() >= PATIENCE && !is_starting(self)) {
                return;
            }
        }
    }

    /// Updates the rule sets of the tenants whose stores were read, but checks only a few candidates: those of the tenant
    /// whose checks took least time lately, urgent ones first. Returns whether candidates, or stores that were not
    /// scanned yet, wait for the next turn.
    pub(super) fn follow_for_a_turn(&mut self) -> bool {
        let Self { recorder, stores, tenants, unreadable, spent, last_turn, checks } = self;
        // Each tenant has its share of the time. Who took more is behind the others, but not for longer than two checks.
        let began = Instant::now();
        let share = began.duration_since(*last_turn) / u32::try_from(tenants.len().max(1)).unwrap_or(u32::MAX);
        *last_turn = began;
        let least = spent.iter().map(|(spent, _)| *spent).min().unwrap_or_default();
        for (spent, _) in spent.iter_mut() {
            *spent = spent.saturating_sub(share.max(least)).min(2 * TEST_CASES_TIME);
        }
        let store_of = |number: &usize| tenants[*number].store;
        let readable = (0..tenants.len()).filter(|number| unreadable[store_of(number)].is_none());
        let (scanned, unscanned): (Vec<_>, Vec<_>) = readable.partition(|number| stores[store_of(number)].is_scanned);
        let mut follow = |number: usize, mut allowed: Checks| {
            let tenant = &mut tenants[number];
            tenant.follow(&mut stores[tenant.store], recorder, &mut allowed);
            allowed
        };
        // What needs no check does not wait.
        let mut waiting = Vec::new();
        for number in scanned {
            let left = follow(number, Checks::none());
            if left.is_unfinished {
                // Among tenants that took about as much time, those that lack a rule come first.
                let (time, check) = spent[number];
                waiting.push(((time.as_secs(), !left.is_urgent, time, check), number));
            }
        }
        waiting.sort_unstable();
        let mut is_unfinished = !unscanned.is_empty();
        for (_, number) in waiting {
            let began_check = Instant::now();
            let mut done = follow(number, Checks::urgent());
            if !done.are_used() {
                done = follow(number, Checks::any());
            }
            *checks += 1;
            spent[number] = (spent[number].0 + began_check.elapsed(), *checks);
            is_unfinished |= done.is_unfinished;
            if began.elapsed() > LONG_TURN {
                return true;
            }
        }
        is_unfinished
    }

    /// Reads the stores.
    pub(super) fn scan(&mut self) {
        let Self { recorder, stores, tenants, unreadable, .. } = self;
        for (number, store) in stores.iter_mut().enumerate() {
            let mut following = tenants.iter().filter(|tenant| tenant.store == number).peekable();
            if following.peek().is_none() {
                continue;
            }
            let error = store.scan().err().map(|error| error.to_string());
            if let Some(error) = error.as_ref().filter(|error| unreadable[number].as_ref() != Some(error)) {
                for tenant in following {
                    recorder.problem(Some(&tenant.name), format!("{error}; the active versions stay active"));
                }
            }
            // One error may be of the moment.
            if error.is_some() && unreadable[number].is_some() {
                let following = tenants.iter_mut().filter(|tenant| tenant.store == number);
                following.for_each(TenantRules::cannot_follow);
            }
            unreadable[number] = error;
        }
    }

    /// Returns the errors of the stores that could not be read the last time.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().flatten().map(String::as_str)
    }

    /// Ends the shadows that are over.
    pub fn end_finished_shadows(&mut self) {
        self.tenants.iter_mut().for_each(|tenant| tenant.end_finished_shadows(&self.recorder));
    }

    /// Ends all shadows for this reason, even those that are not over.
    pub(super) fn end_shadows(&mut self, reason: &str) {
        self.tenants.iter_mut().for_each(|tenant| tenant.end_shadows(reason, &self.recorder));
    }

    /// Sets a tenant's policy. Refused packages are checked again. An unchanged policy has no effect unless `force` is
    /// set.
    ///
    /// # Panics
    /// There is no tenant with this number.
    pub fn set_policy(&mut self, tenant: usize, policy: Policy, force: bool) {
        let following = &mut self.tenants[tenant];
        if following.policy == policy && !force {
            return;
        }
        if following.policy.trusted_keys != policy.trusted_keys {
            let other = self.stores[following.store].with_trusted_keys(policy.trusted_keys.as_deref());
            let old = following.store;
            following.store = usize::MAX;
            // Other tenants may still use the store with the old keys.
            let number = if self.tenants.iter().any(|tenant| tenant.store == old) {
                self.stores.push(other);
                self.unreadable.push(None);
                self.stores.len() - 1
            } else {
                self.stores[old] = other;
                old
            };
            self.tenants[tenant].store = number;
        }
        let following = &mut self.tenants[tenant];
        following.set_policy(policy, &self.recorder);
    }
}
