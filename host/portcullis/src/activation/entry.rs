//! An entry of the history: what happened to a version of a rule.

use std::fmt;

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::package::Candidate;
use crate::rule_set::ShadowReport;

/// A change of a version's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It judges events from now on.
    Activated,
    /// It was active before a restart, and is active again.
    Resumed,
    /// It does not become active, or not again.
    Refused,
    /// It judges events next to the active version, without effect.
    ShadowBegan,
    /// Its shadow has ended.
    ShadowEnded,
    /// It has passed its checks, and waits until the config pins it.
    Waiting,
    /// It failed on an event on which its predecessor did not fail; the predecessor is active again.
    RolledBack,
    /// It is no longer active, and no other version replaces it.
    Removed,
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Time, RFC 3339.
    pub time: String,
    /// The rule's tenant.
    pub tenant: String,
    /// The change.
    pub action: Action,
    /// The rule, if it is known.
    pub rule_id: Option<String>,
    /// The version that was active before.
    pub from: Option<Version>,
    /// The version that this entry is about; for a rollback, the version that is active again.
    pub to: Option<Version>,
    /// SHA-256 of the version's package; for a rollback, of the package that failed.
    pub sha256: Option<String>,
    /// The key that signed it.
    pub signer: Option<String>,
    /// The package's file.
    pub file: Option<String>,
    /// The results of its test cases, if they ran.
    pub test_cases: Option<TestCounts>,
    /// The report at the end of its shadow.
    pub shadow: Option<ShadowReport>,
    /// The reason.
    pub reason: Option<String>,
}

impl Entry {
    /// Returns an entry without any details.
    pub(super) fn new(time: Timestamp, tenant: &str, action: Action) -> Self {
        Self {
            time: time.to_string(),
            tenant: tenant.to_owned(),
            action,
            rule_id: None,
            from: None,
            to: None,
            sha256: None,
            signer: None,
            file: None,
            test_cases: None,
            shadow: None,
            reason: None,
        }
    }

    /// Returns the entry with the details of this package.
    pub(super) fn about(self, package: &Candidate) -> Self {
        Self {
            rule_id: Some(package.rule_id().to_owned()),
            to: Some(package.version().clone()),
            sha256: Some(package.sha256().to_owned()),
            signer: package.signer().map(ToString::to_string),
            file: Some(package.origin().to_owned()),
            ..self
        }
    }
}

/// Numbers of test cases by result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCounts {
    /// Test cases that passed.
    pub passed: usize,
    /// Test cases that failed.
    pub failed: usize,
}

impl fmt::Display for Entry {
    /// Writes the entry as text, without the tenant.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.rule_id.as_deref().or(self.file.as_deref()).unwrap_or("a package");
        let version =
            |version: &Option<Version>| version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
        let to = version(&self.to);
        match self.action {
            Action::Activated => match &self.from {
                Some(from) => write!(formatter, "{rule}{to} is active, replacing {from}")?,
                None => write!(formatter, "{rule}{to} is active")?,
            },
            Action::Resumed => write!(formatter, "{rule}{to} is active, as before")?,
            Action::Refused => write!(formatter, "{rule}{to} is REFUSED")?,
            Action::ShadowBegan => write!(formatter, "{rule}{to} judges in the shadow of{}", version(&self.from))?,
            Action::ShadowEnded => write!(formatter, "{rule}{to} was in the shadow of{}", version(&self.from))?,
            Action::Waiting => write!(formatter, "{rule}{to} has passed its checks, and waits")?,
            Action::RolledBack => write!(formatter, "{rule}{} is ROLLED BACK to{to}", version(&self.from))?,
            Action::Removed => write!(formatter, "{rule}{} is no longer active", version(&self.from))?,
        }
        if let Some(ShadowReport { events, both, added, lost, .. }) = &self.shadow {
            write!(
                formatter,
                ": of {events} events, both match {both}, only this version {added}, only the active version {lost}"
            )?;
        }
        match &self.reason {
            Some(reason) => write!(formatter, ": {reason}"),
            None => Ok(()),
        }
    }
}
