//! Signatures of packages: an Ed25519 signature over a statement that names each part of a package.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use portcullis_alert::hex;
use semver::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::parts::Parts;
use super::world::WORLD;

/// Purpose and format of a statement, so that no other signature of the same key is valid for a package.
const PURPOSE: &str = "portcullis package 1";

/// A key for signing packages.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// A key for checking signatures, written as `ed25519:` and 32 bytes in Base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// A text that is not a key.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct KeyError(String);

/// The signed statement, as JSON: the parts of one version of one rule, for one world.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    purpose: String,
    world: String,
    rule_id: String,
    version: Version,
    component_sha256: String,
    spec_sha256: String,
    manifest_sha256: String,
}

/// The section: the exact statement, the key, and the signature in Base64.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    statement: String,
    key: String,
    signature: String,
}

/// A signature that is not valid for its package.
#[derive(Debug, Error)]
pub enum SignatureError {
    /// A signature is required, and there is none.
    #[error("it is not signed; only packages that a trusted key has signed are accepted (trusted-keys in the config)")]
    Unsigned,
    /// The key is not trusted.
    #[error("it is signed by {0}, which is not a trusted key (trusted-keys in the config)")]
    Untrusted(PublicKey),
    /// The section does not have the expected form.
    #[error("its signature cannot be read: {0}")]
    Form(String),
    /// The signature does not match the statement.
    #[error("its signature is not valid for the key {0}: it was changed after it was signed")]
    Invalid(PublicKey),
    /// A part is not the one in the statement.
    #[error("its {0} is not the one that was signed: it was changed after it was signed")]
    Part(&'static str),
    /// The file contains more than its parts, or has them in another order.
    #[error("it has bytes outside of its signed parts, or their order was changed after it was signed")]
    Layout,
    /// The signature is for another purpose or world.
    #[error("its signature is for {found:?}; expected {expected:?}")]
    Purpose {
        /// The purpose or world in the statement.
        found: String,
        /// The expected one.
        expected: &'static str,
    },
    /// The signature is for another package.
    #[error("its signature is for {signed}; expected {found}")]
    OtherPackage {
        /// Rule and version in the statement.
        signed: String,
        /// Rule and version in spec and manifest.
        found: String,
    },
}

impl SigningKey {
    /// Returns a new key from the system's randomness.
    ///
    /// # Errors
    /// The system provides no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .map_err(|error| KeyError(format!("the system provides no randomness: {error}")))?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&secret)))
    }

    /// Parses a key in PKCS #8 as PEM: `-----BEGIN PRIVATE KEY-----`, which `openssl genpkey -algorithm ed25519` writes
    /// too.
    ///
    /// # Errors
    /// The text is not such a key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let (begin, end) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
        // There may be comments around it.
        let block = pem.find(begin).and_then(|start| {
            let length = pem[start..].find(end)? + end.len();
            Some(&pem[start..start + length])
        });
        let Some(block) = block else {
            let is = if pem.contains("ENCRYPTED") {
                "is encrypted: decrypt it first, for instance with `openssl pkey`"
            } else if pem.contains("PUBLIC KEY") {
                "is a public key; expected a private key"
            } else {
                "has no -----BEGIN PRIVATE KEY-----: expected an Ed25519 private key in PEM (PKCS #8), as `portcullis \
                 keygen` and `openssl genpkey -algorithm ed25519` write them"
            };
            return Err(KeyError(is.to_owned()));
        };
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(block);
        key.map(Self).map_err(|error| KeyError(format!("is not an Ed25519 private key in PEM (PKCS #8): {error}")))
    }

    /// Returns the key in PKCS #8 as PEM.
    ///
    /// # Errors
    /// Never: every key has this form.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        // Older versions of OpenSSL cannot read a file with the public key in it.
        let bytes = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        let pem = bytes.to_pkcs8_pem(LineEnding::LF);
        pem.map(|pem| pem.to_string()).map_err(|error| KeyError(format!("cannot be written as PEM: {error}")))
    }

    /// Returns the key for checking its signatures.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Returns the section that signs these parts as this version of this rule.
    pub(super) fn sign(&self, parts: &Parts<'_>, rule_id: &str, version: &Version) -> Vec<u8> {
        let statement = serde_json::to_string(&Statement::of(parts, rule_id, version)).expect("texts are JSON");
        let section = Section {
            key: self.public_key().to_string(),
            signature: BASE64_STANDARD.encode(self.0.sign(statement.as_bytes()).to_bytes()),
            statement,
        };
        serde_json::to_vec(&section).expect("texts are JSON")
    }
}

/// A valid signature. Spec and manifest must still be compared with the statement.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) signer: PublicKey,
    statement: Statement,
}

impl Signed {
    /// Checks the signature of a package, if it has one. If there are trusted keys, one of them must have made it. Spec
    /// and manifest are not read.
    pub(super) fn check(parts: &Parts<'_>, trusted: Option<&[PublicKey]>) -> Result<Option<Self>, SignatureError> {
        let Some(section) = parts.signature else {
            return if trusted.is_some() { Err(SignatureError::Unsigned) } else { Ok(None) };
        };
        let form = |error: &dyn fmt::Display| SignatureError::Form(error.to_string());
        let whole: Section = serde_json::from_slice(section).map_err(|error| form(&error))?;
        // Otherwise one package could be written in many ways, with different digests.
        if serde_json::to_vec(&whole).ok().as_deref() != Some(section) {
            return Err(form(&"it is not written as `pack` writes it"));
        }
        let Section { statement: text, key, signature } = whole;
        let signer: PublicKey = key.parse().map_err(|error| form(&error))?;
        if trusted.is_some_and(|trusted| !trusted.contains(&signer)) {
            return Err(SignatureError::Untrusted(signer));
        }
        let signature = BASE64_STANDARD.decode(signature).map_err(|error| form(&error))?;
        let signature = Signature::from_slice(&signature).map_err(|error| form(&error))?;
        // Strict: other libraries disagree about signatures that do not pass this check.
        VerifyingKey::from_bytes(&signer.0)
            .and_then(|key| key.verify_strict(text.as_bytes(), &signature))
            .map_err(|_| SignatureError::Invalid(signer))?;

        let statement: Statement = serde_json::from_str(&text).map_err(|error| form(&error))?;
        let expected = Statement::of(parts, &statement.rule_id, &statement.version);
        for (found, expected) in [(&statement.purpose, PURPOSE), (&statement.world, WORLD)] {
            if found != expected {
                return Err(SignatureError::Purpose { found: found.clone(), expected });
            }
        }
        for (part, signed, found) in [
            ("component", &statement.component_sha256, &expected.component_sha256),
            ("spec", &statement.spec_sha256, &expected.spec_sha256),
            ("manifest", &statement.manifest_sha256, &expected.manifest_sha256),
        ] {
            if signed != found {
                return Err(SignatureError::Part(part));
            }
        }
        Ok(Some(Self { signer, statement }))
    }

    /// Checks that the signature is for this version of this rule.
    pub(super) fn check_subject(&self, rule_id: &str, version: &Version) -> Result<(), SignatureError> {
        let Statement { rule_id: signed_id, version: signed_version, .. } = &self.statement;
        if signed_id == rule_id && signed_version == version {
            return Ok(());
        }
        Err(SignatureError::OtherPackage {
            signed: format!("{signed_id} {signed_version}"),
            found: format!("{rule_id} {version}"),
        })
    }
}

impl Statement {
    fn of(parts: &Parts<'_>, rule_id: &str, version: &Version) -> Self {
        let digest = |bytes: &[u8]| hex(&Sha256::digest(bytes));
        Self {
            purpose: PURPOSE.to_owned(),
            world: WORLD.to_owned(),
            rule_id: rule_id.to_owned(),
            version: version.clone(),
            component_sha256: digest(&parts.component),
            spec_sha256: digest(parts.spec.unwrap_or_default()),
            manifest_sha256: digest(parts.manifest.unwrap_or_default()),
        }
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.contains("PRIVATE KEY") {
            return Err(KeyError(
                "it is a private key; expected a public key. Others can read it now: replace it".to_owned(),
            ));
        }
        let shown: String = text.chars().take(60).collect();
        let wrong =
            || KeyError(format!("{shown:?} is not a public key; expected ed25519: and 44 characters of Base64"));
        let bytes = text.strip_prefix("ed25519:").and_then(|text| BASE64_STANDARD.decode(text).ok());
        let bytes: [u8; 32] = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)?;
        // Anyone can make valid signatures for a weak key.
        let is_weak = VerifyingKey::from_bytes(&bytes).map_err(|_| wrong())?.is_weak();
        if is_weak {
            Err(KeyError(format!("{shown:?} is a weak key, with which anyone can sign; expected another key")))
        } else {
            Ok(Self(bytes))
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ed25519:{}", BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
