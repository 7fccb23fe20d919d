//! A package that is not compiled yet.

use std::fmt;

use portcullis_alert::hex;
use semver::Version;
use sha2::{Digest as _, Sha256};

use super::manifest::Manifest;
use super::parts::{self, Parts};
use super::signature::{PublicKey, SignatureError, Signed};
use super::spec::Spec;
use super::{Refusal, Sizes, gate, sections};
use crate::limits::PackageLimits;

/// A package that may become active: its signer, rule, version, and the sizes of its parts.
pub struct Candidate {
    pub(super) origin: String,
    pub(super) spec: Spec,
    pub(super) manifest: Manifest,
    pub(super) sizes: Sizes,
    pub(super) bytes: Vec<u8>,
    signer: Option<PublicKey>,
    sha256: String,
}

impl Candidate {
    /// Reads a package. The checks come in the order of their cost, and the signature is checked before any part is
    /// trusted: length, signature, gate, spec, manifest.
    pub(super) fn read(
        bytes: Vec<u8>,
        origin: &str,
        limits: &PackageLimits,
        trusted: Option<&[PublicKey]>,
    ) -> Result<Self, Refusal> {
        gate::check_size(bytes.len(), limits).and_then(|()| gate::check_beginning(&bytes)).map_err(Refusal::Gate)?;
        let parts = Parts::of(&bytes).map_err(|error| Refusal::Gate(error.into()))?;
        if let Some(found) = parts.signature.map(<[u8]>::len).filter(|found| *found > PackageLimits::SIGNATURE) {
            return Err(Refusal::LongSection { name: parts::SIGNATURE, found, limit: PackageLimits::SIGNATURE });
        }
        let signed = Signed::check(&parts, trusted).map_err(Refusal::Signature)?;
        if signed.is_some() && parts.assemble() != bytes {
            return Err(Refusal::Signature(SignatureError::Layout));
        }
        gate::check(&bytes, limits).map_err(Refusal::Gate)?;
        let spec_yaml = section(&bytes, sections::SPEC, PackageLimits::SPEC)?;
        let manifest_json = section(&bytes, sections::MANIFEST, PackageLimits::MANIFEST)?;
        let spec = Spec::from_yaml(spec_yaml).map_err(Refusal::Spec)?;
        let manifest = Manifest::from_json(manifest_json).map_err(Refusal::Manifest)?;
        if let Some(signed) = &signed {
            signed.check_subject(&spec.rule_id, &manifest.version).map_err(Refusal::Signature)?;
        }
        let signature = parts.signature.map_or(0, <[u8]>::len);
        Ok(Self {
            origin: origin.to_owned(),
            spec,
            manifest,
            sizes: Sizes {
                package: bytes.len(),
                component: bytes.len() - spec_yaml.len() - manifest_json.len() - signature,
                spec: spec_yaml.len(),
                manifest: manifest_json.len(),
                signature,
            },
            signer: signed.map(|signed| signed.signer),
            sha256: hex(&Sha256::digest(&bytes)),
            bytes,
        })
    }

    /// Returns the rule's id, from the spec.
    #[must_use]
    pub fn rule_id(&self) -> &str {
        &self.spec.rule_id
    }

    /// Returns the rule's version, from the manifest.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.manifest.version
    }

    /// Returns the origin of the bytes.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the key that signed it, if it is signed.
    #[must_use]
    pub fn signer(&self) -> Option<&PublicKey> {
        self.signer.as_ref()
    }

    /// Returns the SHA-256 of the file, in lower-case hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns the usual name of its file: `<RuleID>@<version>.wasm`.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}@{}.wasm", self.rule_id(), self.version())
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Candidate({} {} from {})", self.rule_id(), self.version(), self.origin())
    }
}

/// Returns the contents of a section that occurs exactly once.
fn section<'a>(bytes: &'a [u8], name: &'static str, limit: usize) -> Result<&'a [u8], Refusal> {
    match sections::find(bytes, name).map_err(|error| Refusal::Gate(error.into()))?[..] {
        [data] if data.len() > limit => Err(Refusal::LongSection { name, found: data.len(), limit }),
        [data] => Ok(data),
        ref all => Err(Refusal::Section { name, found: all.len() }),
    }
}
