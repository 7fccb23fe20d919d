//! How versions of rules come to be active, and cease to be: the store that they lie in, what a tenant wants of it, what a
//! candidate must show first, and what is written down about it.
//!
//! Nothing here is on the way of an event. An [`Activator`] looks at the files, proves candidates and publishes rule sets;
//! who judges takes them up between two events.

mod following;
mod history;
mod listing;
mod missing;
mod policy;
mod reports;
mod rule_state;
mod shadows;
mod store;
mod watch;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;

pub use history::{Action, Entry, History, HistoryError, Past, VectorCounts};
pub use listing::{Listed, Standing};
pub use policy::{Activate, Pin, Policy};
pub use watch::{Control, Reload, Watched};

use crate::{Compiler, Exchange, FolderError, Limits, RuleSet};
use following::Following;
use history::Pasts;
use store::Store;

/// What a candidate must show besides being a package that compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// That its vectors pass.
    Vectors,
    /// Nothing.
    WithoutVectors,
}

/// What is told to the operator.
#[derive(Debug)]
pub enum News {
    /// Something happened to a version of a rule.
    Entry(Box<Entry>),
    /// Something is in the way: whose, and what.
    Problem {
        /// The tenant, if it is one's.
        tenant: Option<Arc<str>>,
        /// What.
        text: String,
    },
    /// The history cannot be written. What happened is told all the same.
    HistoryFails(HistoryError),
}

/// The rules of a tenant cannot be activated at the start.
#[derive(Debug, Error)]
pub enum ActivationError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] FolderError),
    /// A version is pinned that is not there.
    #[error("{0}")]
    Missing(String),
    /// A package is refused: where it lies, and why.
    #[error("{file}: {reason}")]
    Refused {
        /// The file.
        file: String,
        /// The reason.
        reason: String,
    },
}

/// Where what happens is written down and told.
struct Desk {
    history: Arc<History>,
    clock: fn() -> Timestamp,
    proof: Proof,
    tell: Box<dyn Fn(News) + Send>,
    /// What the history says, and what has been told since.
    known: RefCell<Pasts>,
    /// What is to be written down when the rule sets that it is about have been published.
    entries: RefCell<Vec<Entry>>,
    /// Whether a tenant is being started strictly: then nothing but problems is told.
    is_strict: Cell<bool>,
    /// And this is what was missing first.
    missing: RefCell<Option<ActivationError>>,
}

impl Desk {
    fn entry(&self, tenant: &str, action: Action) -> Entry {
        Entry::of((self.clock)(), tenant, action)
    }

    fn record(&self, entry: Entry) {
        self.entries.borrow_mut().push(entry);
    }

    /// Publishes something, then writes down what has been recorded about it, then tells it. What the history says is active
    /// judges already, and what judges do with it is on record behind it.
    fn publish(&self, publish: impl FnOnce()) {
        // What is started strictly is on record when all of it has started.
        if self.is_strict.get() {
            return publish();
        }
        let written: Vec<_> = {
            let _turn = self.history.turn();
            publish();
            self.entries.take().into_iter().map(|entry| (self.history.append(&entry), entry)).collect()
        };
        for (written, entry) in written {
            self.tell_written(entry, written);
        }
    }

    /// Tells of an entry that was to be written.
    fn tell_written(&self, entry: Entry, written: Result<(), HistoryError>) {
        if let Err(error) = written {
            (self.tell)(News::HistoryFails(error));
        }
        self.known.borrow_mut().remember(entry.clone());
        (self.tell)(News::Entry(Box::new(entry)));
    }

    /// Something that is wanted is not there.
    fn missing(&self, tenant: &Arc<str>, text: String) {
        if self.is_strict.get() {
            self.missing.borrow_mut().get_or_insert(ActivationError::Missing(text));
        } else {
            self.problem(Some(tenant), text);
        }
    }

    /// What was refused first, or was missing, while a tenant was started strictly.
    fn wrong(&self) -> Option<ActivationError> {
        let entries = self.entries.borrow();
        let refused = entries.iter().find(|entry| is_refused(entry)).map(|entry| ActivationError::Refused {
            file: entry.file.clone().unwrap_or_default(),
            reason: entry.reason.clone().unwrap_or_default(),
        });
        refused.or(self.missing.take())
    }

    /// Writes down what has been recorded while tenants were started strictly, and tells none of it: all, or where they do
    /// not start, what was refused.
    fn end_strictly(&self, is_started: bool) {
        for entry in self.entries.take().iter().filter(|entry| is_started || is_refused(entry)) {
            if let Err(error) = self.history.append(entry) {
                (self.tell)(News::HistoryFails(error));
            }
            self.known.borrow_mut().remember(entry.clone());
        }
    }

    fn problem(&self, tenant: Option<&Arc<str>>, text: String) {
        (self.tell)(News::Problem { tenant: tenant.cloned(), text });
    }
}

/// Whether an entry says that a version is refused, or that it waits and nothing else judges meanwhile.
fn is_refused(entry: &Entry) -> bool {
    match entry.action {
        Action::Refused => true,
        Action::Waiting => entry.from.is_none(),
        _ => false,
    }
}

/// Keeps the rule sets of tenants in line with the stores that they follow.
pub struct Activator {
    desk: Desk,
    stores: Vec<Store>,
    tenants: Vec<Following>,
    /// Of each store what is wrong with it, and has been said.
    unreadable: Vec<Option<String>>,
}

impl Activator {
    /// One without tenants. `tell` hears what happens, in the order in which it does.
    #[must_use]
    pub fn new(
        history: Arc<History>,
        proof: Proof,
        clock: fn() -> Timestamp,
        tell: impl Fn(News) + Send + 'static,
    ) -> Self {
        let desk = Desk {
            known: RefCell::new(history.past().clone()),
            history,
            clock,
            proof,
            tell: Box::new(tell),
            entries: RefCell::default(),
            is_strict: Cell::new(false),
            missing: RefCell::new(None),
        };
        Self { desk, stores: Vec::new(), tenants: Vec::new(), unreadable: Vec::new() }
    }

    /// A store of packages in these files and folders, compiled by this compiler; its number.
    pub fn add_store(&mut self, paths: Vec<PathBuf>, compiler: Compiler) -> usize {
        self.stores.push(Store::new(paths, compiler));
        self.unreadable.push(None);
        self.stores.len() - 1
    }

    /// A tenant that follows a store, under these limits; its number.
    ///
    /// # Panics
    /// There is no store of this number.
    pub fn add_tenant(&mut self, name: Arc<str>, store: usize, policy: Policy, limits: Limits) -> usize {
        assert!(store < self.stores.len(), "there is no store {store}");
        self.tenants.push(Following::new(name, store, policy, limits));
        self.tenants.len() - 1
    }

    /// Where a tenant's rule sets are published.
    ///
    /// # Panics
    /// There is no tenant of this number.
    #[must_use]
    pub fn exchange(&self, tenant: usize) -> Arc<Exchange<RuleSet>> {
        Arc::clone(&self.tenants[tenant].exchange)
    }

    /// Activates the rules of all tenants for the first time, in all or nothing: a package that is refused is an error.
    ///
    /// # Errors
    /// Of which tenant, by its number: the store cannot be read, holds no package, or one that is refused, or a rule has no
    /// version that can be active.
    pub fn start_strictly(&mut self) -> Result<(), (usize, ActivationError)> {
        self.desk.is_strict.set(true);
        let wrong = (0..self.tenants.len()).find_map(|tenant| Some((tenant, self.start(tenant).err()?)));
        self.desk.is_strict.set(false);
        self.desk.end_strictly(wrong.is_none());
        wrong.map_or(Ok(()), Err)
    }

    fn start(&mut self, tenant: usize) -> Result<(), ActivationError> {
        let store = &mut self.stores[self.tenants[tenant].store];
        store.scan()?;
        if store.files().next().is_none() {
            return Err(FolderError::Empty(store.paths.first().cloned().unwrap_or_default()).into());
        }
        self.tenants[tenant].follow(store, &self.desk);
        self.desk.wrong().map_or(Ok(()), Err)
    }

    /// Looks at the stores, and brings the rule sets in line with them. Where one cannot be read, what is active stays.
    pub fn follow(&mut self) {
        let Self { desk, stores, tenants, unreadable } = self;
        for (number, store) in stores.iter_mut().enumerate() {
            let mut following = tenants.iter_mut().filter(|tenant| tenant.store == number).peekable();
            if following.peek().is_none() {
                continue;
            }
            let error = store.scan().err().map(|error| error.to_string());
            match &error {
                None => following.for_each(|tenant| tenant.follow(store, desk)),
                Some(error) if unreadable[number].as_ref() != Some(error) => {
                    for tenant in following {
                        desk.problem(Some(&tenant.name), format!("{error}; what is active stays so"));
                    }
                }
                Some(_) => {}
            }
            unreadable[number] = error;
        }
    }

    /// What is wrong with the stores that could not be read when they were looked at last.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().flatten().map(String::as_str)
    }

    /// Ends the shadows that are over.
    pub fn look_after_shadows(&mut self) {
        self.tenants.iter_mut().for_each(|tenant| tenant.look_after_shadows(&self.desk));
    }

    /// Ends all shadows, whatever they have seen, for this reason.
    fn end_shadows(&mut self, reason: &str) {
        self.tenants.iter_mut().for_each(|tenant| tenant.end_shadows(reason, &self.desk));
    }

    /// Gives a tenant another policy, and what was refused another chance; `anew` also where the policy is the same.
    ///
    /// # Panics
    /// There is no tenant of this number.
    pub fn reconsider(&mut self, tenant: usize, policy: Policy, anew: bool) {
        let following = &mut self.tenants[tenant];
        if following.policy == policy && !anew {
            return;
        }
        if following.policy.trusted_keys != policy.trusted_keys {
            let other = self.stores[following.store].trusting(policy.trusted_keys.as_deref());
            let old = following.store;
            following.store = usize::MAX;
            // Other tenants may go on with the keys that it had.
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
        following.reconsider(policy, &self.desk);
    }
}
