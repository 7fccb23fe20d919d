//! The state of one rule of one tenant, and the order in which its versions are tried.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use semver::Version;

use super::entry::{Action, Entry, TestCounts};
use super::history::RuleHistory;
use super::policy::Pin;
use super::store::Versions;
use crate::package::{Candidate, Package};
use crate::rule_set::Shadow;

/// The state of a rule.
#[derive(Default)]
pub(super) struct RuleState {
    pub(super) active: Option<Package>,
    /// The version that the active one has replaced.
    pub(super) predecessor: Option<Package>,
    /// Every version that was ever active, and its package's SHA-256.
    pub(super) activated: BTreeMap<Version, String>,
    /// Version and SHA-256 of the package that was active when the previous process ended or its file was removed, if
    /// none is active now.
    pub(super) last: Option<(Version, String)>,
    /// Packages that are not tried again, by SHA-256.
    pub(super) refused: BTreeMap<String, Refused>,
    /// Packages that failed on live events, by SHA-256.
    pub(super) rolled_back: BTreeMap<String, RolledBack>,
    /// Number of reinstatements so far.
    pub(super) reinstatements: u64,
    pub(super) shadow: Option<InShadow>,
    pub(super) waiting: Option<String>,
    /// Whether it was looked at in the start.
    pub(super) is_started: bool,
    /// The missing version that the config selects, of which the operator was notified.
    pub(super) missing: Option<String>,
}

/// A package that failed on live events. It becomes active again only if its version is pinned exactly.
pub(super) struct RolledBack {
    pub(super) version: Version,
    pub(super) reason: String,
    /// The number of its reinstatement, if it was pinned since.
    pub(super) reinstatement: Option<u64>,
}

/// The reason why a package is not tried again.
pub(super) struct Refused {
    pub(super) reason: String,
    pub(super) kind: RefusalKind,
    /// A check was requested since. The operator is notified of the result if the reason changes.
    pub(super) is_stale: bool,
}

impl Refused {
    /// Returns whether the candidate need not be checked again now.
    pub(super) fn is_final(&self, now: Timestamp) -> bool {
        match self.kind {
            _ if self.is_stale => false,
            RefusalKind::Objection => false,
            // If the clock was set back, it is time.
            RefusalKind::RetryAt(again) => now < again && again.duration_since(now) <= RETRY_AFTER,
            RefusalKind::Failed => true,
        }
    }
}

/// Time after which a package is compiled again if the machine prevented it, and not the package.
pub(super) const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// Kinds of refusals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusalKind {
    /// It depends on other files and versions, and is checked again each time.
    Objection,
    /// The machine prevented the check, and not the package. It is checked again at this time.
    RetryAt(Timestamp),
    /// The package failed its checks. It may pass with another config.
    Failed,
}

pub(super) struct InShadow {
    pub(super) shadow: Shadow,
    pub(super) began: Timestamp,
    pub(super) test_cases: TestCounts,
}

impl RuleState {
    /// Returns the state that the history describes.
    pub(super) fn after(past: &RuleHistory) -> Self {
        let active = past.active.as_ref().map(|(_, sha256, _)| sha256);
        let rolled_back = |(sha256, entry): (&String, &Entry)| {
            let version = if entry.action == Action::RolledBack { &entry.from } else { &entry.to };
            let reason = entry.reason.clone().unwrap_or_default();
            // A package that is active although it failed was reinstated.
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

    /// Returns the rollback of a package, unless it was reinstated since.
    pub(super) fn barred(&self, sha256: &str) -> Option<&RolledBack> {
        self.rolled_back.get(sha256).filter(|rolled_back| rolled_back.reinstatement.is_none())
    }

    /// Returns the objection to a candidate, if there is one, before any of it is compiled.
    pub(super) fn objection(
        &self,
        candidate: &Candidate,
        same: &[Arc<Candidate>],
        pin: Option<&Pin>,
    ) -> Option<String> {
        let version = candidate.version();
        if let [first, second, ..] = same {
            return Some(format!(
                "two different packages have this version, {} and {}: remove one of them",
                first.origin(),
                second.origin()
            ));
        }
        if self.activated.get(version).is_some_and(|sha256| sha256 != candidate.sha256()) {
            return Some(
                "a different package was active with this version: give the new package another version, even if only \
                 its signature is new"
                    .to_owned(),
            );
        }
        let is_last = || self.last.as_ref().is_some_and(|(_, sha256)| sha256 == candidate.sha256());
        let resumes = self.active.is_none() && is_last();
        if resumes || matches!(pin, Some(Pin::Exact(_))) {
            return None;
        }
        let was_good = |sha256: &String| !self.rolled_back.contains_key(sha256);
        let activated = self.activated.iter().filter(|(_, sha256)| was_good(sha256)).map(|(version, _)| version);
        let newest = activated.filter(|version| pin.is_none_or(|pin| pin.allows(version))).max()?;
        (version < newest).then(|| {
            format!(
                "it is older than {newest}, which was active; to roll back on purpose, pin it in the config: versions \
                 = {{ {:?} = \"{version}\" }}",
                candidate.rule_id()
            )
        })
    }
}

/// Returns the versions that a rule may have, in the order in which they are tried: the newest first, but all
/// pre-releases after all others.
pub(super) fn in_trial_order<'a>(versions: &'a Versions, pin: Option<&'a Pin>) -> Vec<&'a Arc<Candidate>> {
    let mut allowed: Vec<&Arc<Candidate>> =
        versions.values().flatten().filter(|candidate| pin.is_none_or(|pin| pin.allows(candidate.version()))).collect();
    allowed.sort_by_key(|candidate| Reverse((candidate.version().pre.is_empty(), candidate.version().clone())));
    allowed
}
