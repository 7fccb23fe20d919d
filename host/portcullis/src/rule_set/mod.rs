//! The active packages of one tenant, and the index that finds the rules for an event.

mod candidates;
mod cell;
mod folder;
mod index;
mod shadow;
mod watch;

/// The primitives of [`SwapCell`].
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
    pub(super) use std::sync::{Arc, Mutex, PoisonError};
}

use std::time::Instant;

use portcullis_event::{Event, LogType};
use thiserror::Error;

pub(crate) use candidates::Candidates;
pub use cell::SwapCell;
pub(crate) use folder::package_files;
pub use folder::{FolderError, read_packages};
pub use shadow::{Shadow, ShadowReport, Tally};
pub use watch::{RuleSetWatch, RuleSets};

/// The cell in which a tenant's rule set is published.
pub type RuleSetCell = SwapCell<RuleSet>;

use crate::package::{Field, Package};
use index::Index;

/// Packages of different rules, ordered by rule id, with an index of their prefilters; and the candidates in shadow.
#[derive(Debug, Default)]
pub struct RuleSet {
    packages: Vec<Package>,
    index: Index,
    /// The versions that some packages have replaced. Without a list, judges use the versions that they had before.
    predecessors: Option<Vec<Package>>,
    /// Packages that are active again after a rollback, each with the number of its reinstatement.
    reinstated: Vec<(Package, u64)>,
    shadows: Vec<Shadow>,
    shadow_index: Index,
    /// Whether there are also active packages that are disabled.
    has_disabled: bool,
    /// The time since which the tenant's first rules are awaited, if they are.
    awaited: Option<Instant>,
}

/// The version that a judge rolls back to if a new version fails.
#[derive(Clone, Copy)]
pub(crate) enum Predecessor<'a> {
    /// The version that the judge had before.
    Own,
    /// This version.
    This(&'a Package),
    /// No version.
    None,
}

/// Two packages of the same rule.
#[derive(Debug, Error)]
#[error("{rule_id} has two packages, {first} and {second}; a rule set has one package for each rule")]
pub struct RuleSetError {
    /// The rule's id.
    pub rule_id: String,
    /// Origin of one package.
    pub first: String,
    /// Origin of the other package.
    pub second: String,
}

impl RuleSet {
    /// Returns a rule set of these packages.
    ///
    /// # Errors
    /// Two packages have the same rule id.
    pub fn new(mut packages: Vec<Package>) -> Result<Self, RuleSetError> {
        packages.sort_by(|a, b| a.rule_id().cmp(b.rule_id()));
        if let Some([first, second]) = packages.array_windows().find(|[a, b]| a.rule_id() == b.rule_id()) {
            return Err(RuleSetError {
                rule_id: first.rule_id().to_owned(),
                first: first.origin().to_owned(),
                second: second.origin().to_owned(),
            });
        }
        let index = index_of(packages.iter());
        Ok(Self { packages, index, ..Self::default() })
    }

    /// Returns the empty rule set of a tenant whose first rules are being checked since then.
    #[must_use]
    pub fn awaited(since: Instant) -> Self {
        Self { awaited: Some(since), ..Self::default() }
    }

    /// Returns the time since which the tenant's first rules are being checked; `None` if they have been.
    #[must_use]
    pub fn awaited_since(&self) -> Option<Instant> {
        self.awaited
    }

    /// Returns the rule set with these candidates in shadow.
    #[must_use]
    pub fn with_shadows(self, shadows: Vec<Shadow>) -> Self {
        Self { shadow_index: index_of(shadows.iter().map(|shadow| &shadow.package)), shadows, ..self }
    }

    /// Returns the rule set of a tenant that also has active packages with `Enabled: false`, or has none.
    #[must_use]
    pub fn with_disabled(self, has_disabled: bool) -> Self {
        Self { has_disabled, ..self }
    }

    /// Returns whether the tenant has rules, even if all of them are disabled.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.has_disabled || !self.packages.is_empty()
    }

    /// Returns the rule set with a list of the versions that its packages have replaced, which judges roll back to if a
    /// package fails. Packages without a predecessor in the list are not rolled back. Without a list, judges roll back
    /// to the versions that they had before.
    #[must_use]
    pub fn with_predecessors(self, predecessors: Vec<Package>) -> Self {
        Self { predecessors: Some(predecessors), ..self }
    }

    /// Returns the rule set with packages that are active again after a rollback, each with the number of its
    /// reinstatement. A reinstatement takes effect once in each judge.
    #[must_use]
    pub fn with_reinstated(self, reinstated: Vec<(Package, u64)>) -> Self {
        Self { reinstated, ..self }
    }

    /// Returns the version that the active one has replaced.
    pub(crate) fn predecessor(&self, rule_id: &str) -> Predecessor<'_> {
        let Some(predecessors) = &self.predecessors else { return Predecessor::Own };
        predecessors.iter().find(|package| package.rule_id() == rule_id).map_or(Predecessor::None, Predecessor::This)
    }

    /// Returns the number of a package's reinstatement, if it is active again after a rollback.
    pub(crate) fn reinstatement(&self, package: &Package) -> Option<u64> {
        self.reinstated.iter().find(|(reinstated, _)| reinstated == package).map(|(_, reinstatement)| *reinstatement)
    }

    /// Returns the packages, by rule id.
    #[must_use]
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// Returns the candidates in shadow.
    #[must_use]
    pub fn shadows(&self) -> &[Shadow] {
        &self.shadows
    }

    /// Marks the candidates in shadow that subscribe to the event's log type and whose prefilter lets it through.
    pub(crate) fn shadow_candidates(&self, event: &Event<'_>, candidates: &mut Candidates) {
        self.shadow_index.candidates(event, candidates);
    }

    /// Marks the rules that subscribe to a log type.
    pub(crate) fn subscribed(&self, log_type: LogType, candidates: &mut Candidates) {
        self.index.subscribed(log_type, candidates);
    }

    /// Marks the rules whose prefilter names the type of a service, and whose other fields let the event through.
    /// Returns whether there are any.
    pub(crate) fn candidates_but_for_type(&self, event: &Event<'_>, candidates: &mut Candidates) -> bool {
        self.index.candidates_but_for(Field::ServiceType, event, candidates)
    }

    /// Marks the rules that subscribe to the event's log type and whose prefilter lets it through.
    pub(crate) fn candidates(&self, event: &Event<'_>, candidates: &mut Candidates) {
        self.index.candidates(event, candidates);
    }
}

fn index_of<'p>(packages: impl Iterator<Item = &'p Package>) -> Index {
    Index::new(&packages.map(|package| (&*package.spec().log_types, package.prefilter())).collect::<Vec<_>>())
}
