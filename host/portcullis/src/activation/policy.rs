//! Which versions of its rules a tenant wants, from whom, and how they come to be active.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use semver::{Version, VersionReq};

use crate::package::PublicKey;

/// How a candidate that has proved itself becomes active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activate {
    /// At once.
    #[default]
    Auto,
    /// When it has judged live events beside the active version for a while, and has not failed where that did not.
    ShadowThenAuto,
    /// When the config pins it.
    Manual,
}

impl Activate {
    /// All of them, by their words in the config.
    pub const ALL: [(&str, Self); 3] =
        [("auto", Self::Auto), ("shadow-then-auto", Self::ShadowThenAuto), ("manual", Self::Manual)];
}

/// What a tenant wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How a candidate becomes active.
    pub activate: Activate,
    /// Events that a candidate judges in the shadow of the active version.
    pub shadow_events: u64,
    /// How long it does so at most.
    pub shadow_time: Option<Duration>,
    /// By rule id the versions that may be active; of a rule that is not named, the newest.
    pub versions: BTreeMap<String, Pin>,
    /// Whose packages are taken; without any list, everybody's.
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

/// A version, or a range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// This one, whatever was active before: to write it is the explicit act that rolling back needs.
    Exact(Version),
    /// The newest of these.
    Range(VersionReq),
}

impl Pin {
    /// Whether a version may be active.
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

    /// A whole version is that one; anything else a range as cargo writes them: `1.2`, `^1`, `>=1.2, <1.5`.
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
