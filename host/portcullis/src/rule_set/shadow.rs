//! A candidate that judges live events without effect, and a report of what it would change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::package::Package;
use crate::sandbox::Fault;

/// Number of events with different verdicts that a report names.
const EXAMPLES: usize = 5;

/// A candidate in shadow.
#[derive(Clone, Debug)]
pub struct Shadow {
    /// The candidate.
    pub package: Package,
    /// Its results so far.
    pub tally: Arc<Tally>,
}

/// Counts of the two versions' verdicts, shared by judges and activator.
#[derive(Debug)]
pub struct Tally {
    /// Number of events after which the shadow is over.
    wanted: u64,
    is_over: AtomicBool,
    report: Mutex<ShadowReport>,
}

/// The changes that a candidate would bring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowReport {
    /// Events that one of the two versions subscribes to.
    pub events: u64,
    /// Matches of both.
    pub both: u64,
    /// Matches of the candidate only.
    pub added: u64,
    /// Matches of the active version only.
    pub lost: u64,
    /// The `auditID` of the first events on which the two verdicts differ.
    pub examples: Vec<String>,
    /// The candidate's fault on an event on which the active version did not fault. It ends the shadow.
    pub fault: Option<String>,
}

impl Shadow {
    /// Returns the shadow of a candidate, for this number of events.
    #[must_use]
    pub fn new(package: Package, events: u64) -> Self {
        let tally = Tally { wanted: events, is_over: AtomicBool::new(false), report: Mutex::default() };
        Self { package, tally: Arc::new(tally) }
    }
}

impl Tally {
    /// Returns whether the shadow is over: the candidate has judged its number of events, or has failed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Returns the report so far.
    #[must_use]
    pub fn report(&self) -> ShadowReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts an event. `active` is whether the active version matches, or an error if it failed; `candidate` is the
    /// same for the candidate.
    pub(crate) fn count(&self, audit_id: Option<&str>, active: Result<bool, ()>, candidate: Result<bool, Fault>) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.events += 1;
        match (active.unwrap_or(false), candidate) {
            (true, Ok(true)) => report.both += 1,
            (_, Err(fault)) if active.is_ok() => report.fault = Some(fault.to_string()),
            (false, Ok(false)) | (_, Err(_)) => {}
            (_, Ok(added)) => {
                *(if added { &mut report.added } else { &mut report.lost }) += 1;
                if report.examples.len() < EXAMPLES {
                    report.examples.extend(audit_id.map(|id| id.chars().take(100).collect()));
                }
            }
        }
        if report.events >= self.wanted || report.fault.is_some() {
            self.is_over.store(true, Ordering::Relaxed);
        }
    }
}
