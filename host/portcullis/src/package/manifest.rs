//! The small part of a package that neither the spec nor the component can say.

use semver::Version;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::prefilter::{Prefilter, PrefilterError};

/// The longest version in bytes.
const MAX_VERSION: usize = 64;

/// A package's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The version of the rule.
    pub version: Version,
    /// The events that can match at all.
    pub prefilter: Prefilter,
}

/// A manifest that cannot be read.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Not JSON of the manifest's form.
    #[error("{0}")]
    Json(serde_json::Error),
    /// The version is longer than one is.
    #[error("its version has {0} bytes, and may have {MAX_VERSION}: it stands in every line of the ledger")]
    LongVersion(usize),
    /// The prefilter.
    #[error("its prefilter {0}")]
    Prefilter(PrefilterError),
}

impl Manifest {
    /// Reads the manifest's section.
    ///
    /// # Errors
    /// It is not a JSON object of a semantic version and a prefilter.
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
