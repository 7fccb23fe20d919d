//! The active packages of one tenant, and which of them an event concerns.

mod cell;
mod folder;
mod index;
mod shadow;
mod watch;

/// What [`SwapCell`] is made of.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
    pub(super) use std::sync::{Arc, Mutex, PoisonError};
}

use portcullis_event::{Event, LogType};
use thiserror::Error;

pub use cell::SwapCell;
pub(crate) use folder::package_files;
pub use folder::{FolderError, read_packages};
pub(crate) use index::Candidates;
pub use shadow::{Shadow, ShadowReport, Tally};
pub use watch::{RuleSetWatch, RuleSets};

/// The cell in which a tenant's rule set is published.
pub type RuleSetCell = SwapCell<RuleSet>;

use crate::package::{Field, Package};
use index::Index;

/// Packages of different rules, ordered by rule id, with their prefilters compiled into one index; and candidates in the
/// shadow of them.
#[derive(Debug, Default)]
pub struct RuleSet {
    packages: Vec<Package>,
    index: Index,
    /// What some of them have replaced; without any list, judges know that themselves.
    before: Option<Vec<Package>>,
    /// Those that are active again, though they have been rolled back, each with the number of its pardon.
    reinstated: Vec<(Package, u64)>,
    shadows: Vec<Shadow>,
    shadow_index: Index,
}

/// What a judge can go back to where a version fails at first.
#[derive(Clone, Copy)]
pub(crate) enum Predecessor<'a> {
    /// What it has had itself.
    Own,
    /// This one.
    This(&'a Package),
    /// Nothing.
    None,
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
    /// one fails at first. The others have nothing to go back to. Without such a list, judges go back to what they have had.
    #[must_use]
    pub fn with_predecessors(self, before: Vec<Package>) -> Self {
        Self { before: Some(before), ..self }
    }

    /// The same, in which these are meant to judge again, though judges have rolled them back: each with the number of its
    /// pardon, of which a judge lets each hold once.
    #[must_use]
    pub fn with_reinstated(self, reinstated: Vec<(Package, u64)>) -> Self {
        Self { reinstated, ..self }
    }

    /// What a version of a rule has replaced.
    pub(crate) fn predecessor(&self, rule_id: &str) -> Predecessor<'_> {
        let Some(before) = &self.before else { return Predecessor::Own };
        before.iter().find(|before| before.rule_id() == rule_id).map_or(Predecessor::None, Predecessor::This)
    }

    /// The number of a package's pardon, if it was rolled back and is meant to judge again.
    pub(crate) fn reinstatement(&self, package: &Package) -> Option<u64> {
        self.reinstated.iter().find(|(reinstated, _)| reinstated == package).map(|(_, reinstatement)| *reinstatement)
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

    /// Marks the rules that subscribe to a log type.
    pub(crate) fn subscribed(&self, log_type: LogType, candidates: &mut Candidates) {
        self.index.subscribed(log_type, candidates);
    }

    /// Marks the rules whose prefilter names the type of a service, and would let the event through if it had one that the rule
    /// wants; whether there are any.
    pub(crate) fn candidates_but_for_type(&self, event: &Event<'_>, candidates: &mut Candidates) -> bool {
        self.index.candidates_but_for(Field::ServiceType, event, candidates)
    }

    /// Marks the rules that subscribe to the event's log type and whose prefilter lets it through.
    pub(crate) fn candidates(&self, event: &Event<'_>, candidates: &mut Candidates) {
        self.index.candidates(event, candidates);
    }
}
