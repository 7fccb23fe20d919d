//! Records what happens to versions of rules: writes it to the history and notifies the operator.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;

use super::entry::{Action, Entry};
use super::history::{Histories, History, HistoryError};
use crate::rule_set::{FolderError, RuleSet};

/// Checks that a candidate must pass, in addition to being a package that compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequiredChecks {
    /// Its test cases pass.
    TestCases,
    /// No further check.
    WithoutTestCases,
}

/// A message for the operator.
#[derive(Debug)]
pub enum ActivationNotice {
    /// Something happened to a version of a rule.
    Entry(Box<Entry>),
    /// A problem that the operator should solve.
    Problem {
        /// The tenant, if it concerns one tenant.
        tenant: Option<Arc<str>>,
        /// The problem.
        text: String,
    },
    /// All rules of a tenant have been looked at for the first time, and those with a version that passed its checks
    /// judge from now on.
    Started {
        /// The tenant.
        tenant: Arc<str>,
        /// The ids of the rules that judge.
        rule_ids: Vec<String>,
    },
    /// The history cannot be written. The operator is notified of the entries nevertheless.
    HistoryFails(HistoryError),
}

/// The rules of a tenant cannot be activated at the start.
#[derive(Debug, Error)]
pub enum ActivationError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] FolderError),
    /// A pinned version does not exist.
    #[error("{0}")]
    Missing(String),
    /// A package is refused.
    #[error("{file}: {reason}")]
    Refused {
        /// The file.
        file: String,
        /// The reason.
        reason: String,
    },
}

/// Writes entries to the history and notifies the operator of them.
pub(super) struct Recorder {
    pub(super) history: Arc<History>,
    pub(super) clock: fn() -> Timestamp,
    pub(super) checks: RequiredChecks,
    pub(super) notify: Box<dyn Fn(ActivationNotice) + Send>,
    /// The history, and the entries since the start.
    pub(super) known: RefCell<Histories>,
    /// Entries to write after the rule sets that they are about have been published.
    pub(super) entries: RefCell<Vec<Entry>>,
    /// Whether a tenant is in a strict start: then the operator is notified of problems only.
    pub(super) is_strict: Cell<bool>,
    /// The first missing version in a strict start.
    pub(super) missing: RefCell<Option<ActivationError>>,
}

impl Recorder {
    pub(super) fn entry(&self, tenant: &str, action: Action) -> Entry {
        Entry::new((self.clock)(), tenant, action)
    }

    pub(super) fn record(&self, entry: Entry) {
        self.entries.borrow_mut().push(entry);
    }

    /// Publishes something, then writes the recorded entries about it, then notifies of them. So a version that is
    /// active according to the history judges already, and entries about a judge's reaction come after its activation.
    pub(super) fn publish(&self, publish: impl FnOnce()) {
        // Entries of a strict start are written when all tenants have started.
        if self.is_strict.get() {
            return publish();
        }
        let written: Vec<_> = {
            let _lock = self.history.lock_publishing();
            publish();
            self.entries.take().into_iter().map(|entry| (self.history.append(&entry), entry)).collect()
        };
        for (written, entry) in written {
            self.notify_written(entry, written);
        }
    }

    /// Notifies of an entry, and of the failure to write it.
    pub(super) fn notify_written(&self, entry: Entry, written: Result<(), HistoryError>) {
        if let Err(error) = written {
            (self.notify)(ActivationNotice::HistoryFails(error));
        }
        self.known.borrow_mut().remember(entry.clone());
        (self.notify)(ActivationNotice::Entry(Box::new(entry)));
    }

    /// Reports that something is missing that the config selects.
    pub(super) fn missing(&self, tenant: &Arc<str>, text: String) {
        if self.is_strict.get() {
            self.missing.borrow_mut().get_or_insert(ActivationError::Missing(text));
        } else {
            self.problem(Some(tenant), text);
        }
    }

    /// Returns the first refusal or missing version of a strict start.
    pub(super) fn startup_error(&self) -> Option<ActivationError> {
        let entries = self.entries.borrow();
        let refused = entries.iter().find(|entry| is_refused(entry)).map(|entry| ActivationError::Refused {
            file: entry.file.clone().unwrap_or_default(),
            reason: entry.reason.clone().unwrap_or_default(),
        });
        refused.or(self.missing.take())
    }

    /// Writes the entries of a strict start, without notifications: all of them, or only refusals if the start failed.
    pub(super) fn end_strict_start(&self, is_started: bool) {
        for entry in self.entries.take().iter().filter(|entry| is_started || is_refused(entry)) {
            if let Err(error) = self.history.append(entry) {
                (self.notify)(ActivationNotice::HistoryFails(error));
            }
            self.known.borrow_mut().remember(entry.clone());
        }
    }

    /// Notifies of a tenant's first rules.
    pub(super) fn started(&self, tenant: &Arc<str>, rules: Option<&RuleSet>) {
        let packages = rules.map(RuleSet::packages).unwrap_or_default();
        let rule_ids = packages.iter().map(|package| package.rule_id().to_owned()).collect();
        if !self.is_strict.get() {
            (self.notify)(ActivationNotice::Started { tenant: Arc::clone(tenant), rule_ids });
        }
    }

    pub(super) fn problem(&self, tenant: Option<&Arc<str>>, text: String) {
        (self.notify)(ActivationNotice::Problem { tenant: tenant.cloned(), text });
    }
}

/// Returns whether an entry says that a version is refused, or that it waits although no version is active.
fn is_refused(entry: &Entry) -> bool {
    match entry.action {
        Action::Refused => true,
        Action::Waiting => entry.from.is_none(),
        _ => false,
    }
}
