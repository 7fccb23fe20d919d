//! The manifest: the part of a package that is in neither the spec nor the component.

use semver::Version;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::prefilter::{Prefilter, PrefilterError};

/// Limit for a version, in bytes.
const MAX_VERSION: usize = 64;

/// A package's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The version of the rule.
    pub version: Version,
    /// The condition that all matching events fulfil.
    pub prefilter: Prefilter,
}

/// A manifest that cannot be read.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// It is not JSON of the expected form.
    #[error("{0}")]
    Json(serde_json::Error),
    /// The version is too long.
    #[error("its version has {0} bytes; the limit is {MAX_VERSION}, because each line of the ledger contains it")]
    LongVersion(usize),
    /// The prefilter is not valid.
    #[error("its prefilter {0}")]
    Prefilter(PrefilterError),
}

impl Manifest {
    /// Parses the manifest's section.
    ///
    /// # Errors
    /// It is not a JSON object with a semantic version and a prefilter.
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Json {
            version: Version,
            prefilter: Value,
        }
        let Json { version, prefilter } = serde_json::from_slice(json).map_err(ManifestError::Json)?;
        let length = version.to_string().len();
        if length > MAX_VERSION {
            return Err(ManifestError::LongVersion(length));
        }
        let prefilter = Prefilter::from_json(&prefilter).map_err(ManifestError::Prefilter)?;
        Ok(Self { version, prefilter })
    }
}
