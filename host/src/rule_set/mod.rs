//! The active packages of one tenant, and which of them an event concerns.

mod exchange;
mod folder;
mod index;
mod shadow;

/// What [`Exchange`] is made of.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
    pub(super) use std::sync::{Arc, Mutex, PoisonError};
}

use portcullis_event::Event;
use thiserror::Error;

pub use exchange::Exchange;
pub(crate) use folder::package_files;
pub use folder::{FolderError, read_packages};
pub(crate) use index::Candidates;
pub use shadow::{Shadow, ShadowReport, Tally};

use crate::Package;
use index::Index;

/// Packages of different rules, ordered by rule id, with their prefilters compiled into one index; and candidates in the
/// shadow of them.
#[derive(Debug, Default)]
pub struct RuleSet {
    packages: Vec<Package>,
    index: Index,
    /// What some of them have replaced.
    before: Vec<Package>,
    shadows: Vec<Shadow>,
    shadow_index: Index,
}

/// Packages that cannot be active together.
#[derive(Debug, Error)]
#[error("{rule_id} is there twice, in {first} and in {second}; a rule set has one package of a rule")]
pub struct RuleSetError {
    /// The rule.
    pub rule_id: String,
    /// Where the one package came from.
    pub first: String,
    /// Where the other came from.
    pub second: String,
}

impl RuleSet {
    /// A rule set of these packages.
    ///
    /// # Errors
    /// Two packages are of one rule.
    pub fn new(mut packages: Vec<Package>) -> Result<Self, RuleSetError> {
        packages.sort_by(|a, b| a.rule_id().cmp(b.rule_id()));
        if let Some([first, second]) = packages.array_windows().find(|[a, b]| a.rule_id() == b.rule_id()) {
            return Err(RuleSetError {
                rule_id: first.rule_id().to_owned(),
                first: first.origin().to_owned(),
                second: second.origin().to_owned(),
            });
        }
        let index = Index::new(&packages);
        Ok(Self { packages, index, ..Self::default() })
    }

    /// The same, with these candidates in its shadow.
    #[must_use]
    pub fn with_shadows(self, shadows: Vec<Shadow>) -> Self {
        let packages: Vec<Package> = shadows.iter().map(|shadow| shadow.package.clone()).collect();
        Self { shadow_index: Index::new(&packages), shadows, ..self }
    }

    /// The same, in which each of these packages is what the one of its rule has replaced: what judges go back to where that
    /// one fails at first. Without, it is the one that a judge has had.
    #[must_use]
    pub fn with_predecessors(self, before: Vec<Package>) -> Self {
        Self { before, ..self }
    }

    /// The version of a rule that was active before.
    pub(crate) fn before(&self, rule_id: &str) -> Option<&Package> {
        self.before.iter().find(|before| before.rule_id() == rule_id)
    }

    /// The packages, by rule id.
    #[must_use]
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The candidates in its shadow.
    #[must_use]
    pub fn shadows(&self) -> &[Shadow] {
        &self.shadows
    }

    /// Marks the candidates in the shadow that subscribe to the event's log type and whose prefilter lets it through.
    pub(crate) fn shadow_candidates(&self, event: &Event<'_>, candidates: &mut Candidates) {
        self.shadow_index.candidates(event, candidates);
    }

    /// Marks the rules that subscribe to the event's log type and whose prefilter lets it through.
    pub(crate) fn candidates(&self, event: &Event<'_>, candidates: &mut Candidates) {
        self.index.candidates(event, candidates);
    }
}
