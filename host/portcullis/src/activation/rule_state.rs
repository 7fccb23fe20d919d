//! What is known of one rule of one tenant, and which of its versions is tried first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use semver::Version;

use super::history::{Action, Entry, Past, TestCounts};
use super::policy::Pin;
use super::store::Versions;
use crate::package::{Candidate, Package};
use crate::rule_set::Shadow;

/// One rule of the tenant.
#[derive(Default)]
pub(super) struct RuleState {
    pub(super) active: Option<Package>,
    /// What it has replaced.
    pub(super) before: Option<Package>,
    /// Every version that ever was active, and the SHA-256 of its package.
    pub(super) activated: BTreeMap<Version, String>,
    /// What was active last, where nothing is: when the process before this one ended, or when its file was removed. Version
    /// and SHA-256.
    pub(super) last: Option<(Version, String)>,
    /// By their SHA-256 the packages that are not tried again.
    pub(super) refused: BTreeMap<String, Refused>,
    /// And those that failed on live events.
    pub(super) rolled_back: BTreeMap<String, RolledBack>,
    /// How many pardons there have been.
    pub(super) reinstatements: u64,
    pub(super) shadow: Option<InShadow>,
    pub(super) waiting: Option<String>,
    /// What is wanted of it and not there, which has been said.
    pub(super) missing: Option<String>,
}

/// A package that failed on live events: only who names it anew gets it again.
pub(super) struct RolledBack {
    pub(super) version: Version,
    pub(super) reason: String,
    /// The number of the pardon, if it was named since.
    pub(super) reinstatement: Option<u64>,
}

/// Why a package is not tried again.
pub(super) struct Refused {
    pub(super) reason: String,
    pub(super) why: Why,
    /// Somebody has asked since to look at it again. What it is refused for then is said if it is something else.
    pub(super) is_stale: bool,
}

impl Refused {
    /// Whether a candidate need not be tried again.
    pub(super) fn is_final(&self, now: Timestamp) -> bool {
        match self.why {
            _ if self.is_stale => false,
            Why::Objection => false,
            Why::Passing(again) => now < again,
            Why::Failed => true,
        }
    }
}

/// What kind of reason that is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// One that other files and versions give: it is looked at again each time.
    Objection,
    /// The machine, and not the package: it is tried again then.
    Passing(Timestamp),
    /// It has not proved itself: it could another time, under another config.
    Failed,
}

pub(super) struct InShadow {
    pub(super) shadow: Shadow,
    pub(super) began: Timestamp,
    pub(super) test_cases: TestCounts,
}

impl RuleState {
    /// As the history left it.
    pub(super) fn after(past: &Past) -> Self {
        let active = past.active.as_ref().map(|(_, sha256, _)| sha256);
        let rolled_back = |(sha256, entry): (&String, &Entry)| {
            let version = if entry.action == Action::RolledBack { &entry.from } else { &entry.to };
            let reason = entry.reason.clone().unwrap_or_default();
            // What was active all the same had its pardon.
            let reinstatement = (active == Some(sha256)).then_some(1);
            Some((sha256.clone(), RolledBack { version: version.clone()?, reason, reinstatement }))
        };
        Self {
            activated: past.activated.clone(),
            last: past.active.as_ref().map(|(version, sha256, _)| (version.clone(), sha256.clone())),
            reinstatements: 1,
            rolled_back: past.rolled_back.iter().filter_map(rolled_back).collect(),
            ..Self::default()
        }
    }

    /// Why a package has been rolled back, unless somebody has named it since.
    pub(super) fn barred(&self, sha256: &str) -> Option<&RolledBack> {
        self.rolled_back.get(sha256).filter(|rolled_back| rolled_back.reinstatement.is_none())
    }

    /// What speaks against a candidate before anything of it is compiled.
    pub(super) fn objection(
        &self,
        candidate: &Candidate,
        same: &[Arc<Candidate>],
        pin: Option<&Pin>,
    ) -> Option<String> {
        let version = candidate.version();
        if let [first, second, ..] = same {
            return Some(format!(
                "it is there twice, with different bytes, in {} and in {}; one version is one package: remove one of them",
                first.origin(),
                second.origin()
            ));
        }
        if self.activated.get(version).is_some_and(|sha256| sha256 != candidate.sha256()) {
            return Some(
                "a package with other bytes was active as this version; one version is one package: give it another, also \
                 where only its signature is new"
                    .to_owned(),
            );
        }
        let is_last = || self.last.as_ref().is_some_and(|(_, sha256)| sha256 == candidate.sha256());
        let goes_on = self.active.is_none() && is_last();
        if goes_on || matches!(pin, Some(Pin::Exact(_))) {
            return None;
        }
        let was_good = |sha256: &String| !self.rolled_back.contains_key(sha256);
        let activated = self.activated.iter().filter(|(_, sha256)| was_good(sha256)).map(|(version, _)| version);
        let newest = activated.filter(|version| pin.is_none_or(|pin| pin.allows(version))).max()?;
        (version < newest).then(|| {
            format!(
                "it is older than {newest}, which was active; to roll back on purpose, pin it in the config: \
                 versions = {{ {:?} = \"{version}\" }}",
                candidate.rule_id()
            )
        })
    }
}

/// The versions that a rule may have, in the order in which they are tried: the newest first, and those that are no
/// pre-releases before all that are.
pub(super) fn in_order<'a>(versions: &'a Versions, pin: Option<&'a Pin>) -> Vec<&'a Arc<Candidate>> {
    let mut allowed: Vec<&Arc<Candidate>> =
        versions.values().flatten().filter(|candidate| pin.is_none_or(|pin| pin.allows(candidate.version()))).collect();
    allowed.sort_by_key(|candidate| Reverse((candidate.version().pre.is_empty(), candidate.version().clone())));
    allowed
}
