//! A candidate that judges live events without a say: what it would have added, and what lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::package::Package;
use crate::sandbox::Fault;

/// So many events of which the two versions say different things are named in a report.
const EXAMPLES: usize = 5;

/// A candidate beside the version that is active.
#[derive(Clone, Debug)]
pub struct Shadow {
    /// The candidate.
    pub package: Package,
    /// What has come of it so far.
    pub tally: Arc<Tally>,
}

/// What the two versions have said, counted by whoever judges and read by whoever decides.
#[derive(Debug)]
pub struct Tally {
    /// Events until the shadow has seen enough.
    wanted: u64,
    is_over: AtomicBool,
    report: Mutex<ShadowReport>,
}

/// What a candidate would have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowReport {
    /// Events that one of the two subscribes to.
    pub events: u64,
    /// Matches of both.
    pub both: u64,
    /// Matches of the candidate only.
    pub added: u64,
    /// Matches of the active version only.
    pub lost: u64,
    /// The `auditID` of the first events of which the two say different things.
    pub examples: Vec<String>,
    /// How the candidate failed on an event on which the active version did not: the end of it.
    pub fault: Option<String>,
}

impl Shadow {
    /// A candidate that is to see so many events.
    #[must_use]
    pub fn new(package: Package, events: u64) -> Self {
        let tally = Tally { wanted: events, is_over: AtomicBool::new(false), report: Mutex::default() };
        Self { package, tally: Arc::new(tally) }
    }
}

impl Tally {
    /// Whether the candidate is not asked any more: it has seen all the events that it was to see, or it has failed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// What has come of it so far.
    #[must_use]
    pub fn report(&self) -> ShadowReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts an event: whether the active version matches, or how it failed, and whether the candidate does.
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
