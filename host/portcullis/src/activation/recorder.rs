//! Where what happens to versions of rules is written down and told.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;

use super::history::{Action, Entry, History, HistoryError, Pasts};
use crate::rule_set::FolderError;

/// What a candidate must show besides being a package that compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// That its test cases pass.
    TestCases,
    /// Nothing.
    WithoutTestCases,
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
pub(super) struct Recorder {
    pub(super) history: Arc<History>,
    pub(super) clock: fn() -> Timestamp,
    pub(super) proof: Proof,
    pub(super) tell: Box<dyn Fn(News) + Send>,
    /// What the history says, and what has been told since.
    pub(super) known: RefCell<Pasts>,
    /// What is to be written down when the rule sets that it is about have been published.
    pub(super) entries: RefCell<Vec<Entry>>,
    /// Whether a tenant is being started strictly: then nothing but problems is told.
    pub(super) is_strict: Cell<bool>,
    /// And this is what was missing first.
    pub(super) missing: RefCell<Option<ActivationError>>,
}

impl Recorder {
    pub(super) fn entry(&self, tenant: &str, action: Action) -> Entry {
        Entry::of((self.clock)(), tenant, action)
    }

    pub(super) fn record(&self, entry: Entry) {
        self.entries.borrow_mut().push(entry);
    }

    /// Publishes something, then writes down what has been recorded about it, then tells it. What the history says is active
    /// judges already, and what judges do with it is on record behind it.
    pub(super) fn publish(&self, publish: impl FnOnce()) {
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
    pub(super) fn tell_written(&self, entry: Entry, written: Result<(), HistoryError>) {
        if let Err(error) = written {
            (self.tell)(News::HistoryFails(error));
        }
        self.known.borrow_mut().remember(entry.clone());
        (self.tell)(News::Entry(Box::new(entry)));
    }

    /// Something that is wanted is not there.
    pub(super) fn missing(&self, tenant: &Arc<str>, text: String) {
        if self.is_strict.get() {
            self.missing.borrow_mut().get_or_insert(ActivationError::Missing(text));
        } else {
            self.problem(Some(tenant), text);
        }
    }

    /// What was refused first, or was missing, while a tenant was started strictly.
    pub(super) fn wrong(&self) -> Option<ActivationError> {
        let entries = self.entries.borrow();
        let refused = entries.iter().find(|entry| is_refused(entry)).map(|entry| ActivationError::Refused {
            file: entry.file.clone().unwrap_or_default(),
            reason: entry.reason.clone().unwrap_or_default(),
        });
        refused.or(self.missing.take())
    }

    /// Writes down what has been recorded while tenants were started strictly, and tells none of it: all, or where they do
    /// not start, what was refused.
    pub(super) fn end_strictly(&self, is_started: bool) {
        for entry in self.entries.take().iter().filter(|entry| is_started || is_refused(entry)) {
            if let Err(error) = self.history.append(entry) {
                (self.tell)(News::HistoryFails(error));
            }
            self.known.borrow_mut().remember(entry.clone());
        }
    }

    pub(super) fn problem(&self, tenant: Option<&Arc<str>>, text: String) {
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
