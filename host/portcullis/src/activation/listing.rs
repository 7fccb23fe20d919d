//! Lists the packages of each rule with their states.

use std::path::Path;
use std::sync::Arc;

use semver::Version;
use serde::Serialize;

use super::activator::Activator;
use super::history::{Histories, RuleHistory};
use super::tenant_rules::TenantRules;
use crate::package::Candidate;

/// A package in a store, or one that was active and is no longer there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedPackage {
    /// The rule, if the file is a package.
    pub rule_id: Option<String>,
    /// Its version.
    pub version: Option<Version>,
    /// Its state.
    pub state: VersionState,
    /// Time since which it has this state, RFC 3339, if the history has it.
    pub since: Option<String>,
    /// The reason why it is refused.
    pub reason: Option<String>,
    /// The file.
    pub file: Option<String>,
    /// The SHA-256 of the file.
    pub sha256: Option<String>,
    /// The key that signed it.
    pub signer: Option<String>,
}

/// The state of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionState {
    /// It is active according to the history. Without a history, a run would activate it.
    Active,
    /// It judges in the shadow of the active version.
    Shadow,
    /// It has passed its checks, and becomes active when a process follows the store.
    Next,
    /// It has passed its checks, and waits until the config pins it.
    Waiting,
    /// It does not become active.
    Refused,
    /// Another version is selected.
    Inactive,
}

impl VersionState {
    /// Returns the name of the state.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Shadow => "shadow",
            Self::Next => "next",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Inactive => "inactive",
        }
    }
}

impl Activator {
    /// Returns the packages in a tenant's store with their states, by rule, the newest version first. Files that are
    /// not packages come last.
    ///
    /// # Panics
    /// There is no tenant with this number.
    #[must_use]
    pub fn list(&self, tenant: usize) -> Vec<ListedPackage> {
        self.list_by(tenant, self.recorder.history.past(), self.recorder.history.is_kept())
    }

    /// Returns the list for a process that is judging: entries since its start count as history.
    pub(super) fn list_serving(&self, tenant: usize) -> Vec<ListedPackage> {
        self.list_by(tenant, &self.recorder.known.borrow(), true)
    }

    fn list_by(&self, tenant: usize, known: &Histories, has_history: bool) -> Vec<ListedPackage> {
        let following = &self.tenants[tenant];
        let mut listed: Vec<ListedPackage> = self.stores[following.store]
            .files()
            .map(|(file, found)| match found {
                Ok(candidate) => {
                    let past = known.of(&following.name, candidate.rule_id());
                    listed(following, file, candidate, past, has_history)
                }
                Err(reason) => ListedPackage {
                    rule_id: None,
                    version: None,
                    state: VersionState::Refused,
                    since: None,
                    reason: Some(reason.to_string()),
                    file: Some(file.display().to_string()),
                    sha256: None,
                    signer: None,
                },
            })
            .collect();
        for (rule_id, past) in known.rules(&following.name) {
            let Some((version, sha256, since)) = &past.active else { continue };
            if !listed.iter().any(|listed| listed.sha256.as_ref() == Some(sha256)) {
                listed.push(ListedPackage {
                    rule_id: Some(rule_id.to_owned()),
                    version: Some(version.clone()),
                    state: VersionState::Active,
                    since: Some(since.clone()),
                    reason: Some("its file is gone".to_owned()),
                    file: None,
                    sha256: Some(sha256.clone()),
                    signer: None,
                });
            }
        }
        let key = |listed: &ListedPackage| (listed.rule_id.is_none(), listed.rule_id.clone());
        listed.sort_by(|a, b| key(a).cmp(&key(b)).then(b.version.cmp(&a.version)).then(a.file.cmp(&b.file)));
        listed
    }
}

fn listed(
    following: &TenantRules,
    file: &Path,
    candidate: &Arc<Candidate>,
    past: Option<&RuleHistory>,
    has_history: bool,
) -> ListedPackage {
    let sha256 = candidate.sha256();
    let state = &following.rules[candidate.rule_id()];
    let is = |other: Option<&str>| other == Some(sha256);
    let active = past.and_then(|past| past.active.as_ref()).filter(|(_, active, _)| active == sha256);
    let shadow = past.and_then(|past| past.shadow.as_ref()).filter(|(shadow, _)| shadow == sha256);
    let before = past.and_then(|past| past.rolled_back.get(sha256).or(past.refused.get(sha256)));
    let refused = state.barred(sha256).map(|barred| &barred.reason);
    let refused = refused.or(state.refused.get(sha256).map(|refused| &refused.reason));
    let (state, since, reason) = if let Some((_, _, since)) = active {
        (VersionState::Active, Some(since), None)
    } else if let Some((_, since)) = shadow {
        (VersionState::Shadow, Some(since), None)
    } else if let Some(reason) = refused {
        let time = before.filter(|entry| entry.reason.as_ref() == Some(reason)).map(|entry| &entry.time);
        (VersionState::Refused, time, Some(reason))
    } else if is(state.active.as_ref().map(crate::package::Package::sha256)) {
        (if has_history { VersionState::Next } else { VersionState::Active }, None, None)
    } else if is(state.shadow.as_ref().map(|shadow| shadow.shadow.package.sha256())) {
        (VersionState::Next, None, None)
    } else if is(state.waiting.as_deref()) {
        (VersionState::Waiting, None, None)
    } else {
        (VersionState::Inactive, None, None)
    };
    ListedPackage {
        rule_id: Some(candidate.rule_id().to_owned()),
        version: Some(candidate.version().clone()),
        state,
        since: since.cloned(),
        reason: reason.cloned(),
        file: Some(file.display().to_string()),
        sha256: Some(sha256.to_owned()),
        signer: candidate.signer().map(ToString::to_string),
    }
}
