//! The manifest: the part of a package that is in neither the spec nor the component.

use std::collections::HashSet;
use std::fmt;

use semver::Version;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::Value;
use serde_json::value::RawValue;
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
        struct Json<'j> {
            version: Version,
            #[serde(borrow)]
            prefilter: &'j RawValue,
        }
        let Json { version, prefilter } = serde_json::from_slice(json).map_err(ManifestError::Json)?;
        let length = version.to_string().len();
        if length > MAX_VERSION {
            return Err(ManifestError::LongVersion(length));
        }
        let value: Value = serde_json::from_str(prefilter.get()).map_err(ManifestError::Json)?;
        if value.is_object() {
            let mut members = serde_json::Deserializer::from_str(prefilter.get());
            members.deserialize_map(DifferentNames).map_err(ManifestError::Json)?;
        }
        let prefilter = Prefilter::from_json(&value).map_err(ManifestError::Prefilter)?;
        Ok(Self { version, prefilter })
    }
}

/// Checks that the members of an object have different names. Of two conditions on one field, readers would take
/// different ones.
struct DifferentNames;

impl<'de> Visitor<'de> for DifferentNames {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some((name, IgnoredAny)) = members.next_entry::<String, _>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format!("its prefilter has the field {name:?} twice")));
            }
            names.insert(name);
        }
        Ok(())
    }
}
