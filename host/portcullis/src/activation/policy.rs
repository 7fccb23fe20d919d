//! A tenant's policy: which versions of rules may be active, who signs them, and how they become active.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use semver::{Version, VersionReq};

use crate::package::PublicKey;

/// How a candidate that has passed its checks becomes active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activate {
    /// Immediately.
    #[default]
    Auto,
    /// After it has judged live events in the shadow of the active version, without failing where that did not fail.
    ShadowThenAuto,
    /// When the config pins it.
    Manual,
}

impl Activate {
    /// All of them, with their names in the config.
    pub const ALL: [(&str, Self); 3] =
        [("auto", Self::Auto), ("shadow-then-auto", Self::ShadowThenAuto), ("manual", Self::Manual)];
}

/// A tenant's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How candidates become active.
    pub activate: Activate,
    /// Events that a candidate judges in the shadow of the active version.
    pub shadow_events: u64,
    /// Maximum duration of a shadow.
    pub shadow_time: Option<Duration>,
    /// The versions that may be active, by rule id. For a rule that is not listed, the newest version becomes active.
    pub versions: BTreeMap<String, Pin>,
    /// The keys whose packages are accepted; without a list, all packages are accepted.
    pub trusted_keys: Option<Vec<PublicKey>>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            activate: Activate::default(),
            shadow_events: 10_000,
            shadow_time: None,
            versions: BTreeMap::new(),
            trusted_keys: None,
        }
    }
}

/// A version, or a range of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// This version, even if a newer one was active: rolling back needs this explicit act.
    Exact(Version),
    /// The newest version in this range.
    Range(VersionReq),
}

impl Pin {
    /// Returns whether a version may be active.
    #[must_use]
    pub fn allows(&self, version: &Version) -> bool {
        match self {
            Self::Exact(exact) => version == exact,
            Self::Range(range) => range.matches(version),
        }
    }
}

impl FromStr for Pin {
    type Err = semver::Error;

    /// Parses a complete version as this exact version, and anything else as a range with cargo's syntax: `1.2`, `^1`,
    /// `>=1.2, <1.5`.
    fn from_str(text: &str) -> Result<Self, semver::Error> {
        text.parse().map(Self::Exact).or_else(|_| text.parse().map(Self::Range))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(version) => version.fmt(formatter),
            Self::Range(range) => range.fmt(formatter),
        }
    }
}
