//! Makes a package from a component, in whatever language it is written.

use semver::Version;
use serde_json::{Map, Value, json};
use thiserror::Error;
use wasmparser::Parser;

use super::parts::Parts;
use super::signature::{PublicKey, SignatureError, Signed, SigningKey};
use super::{Manifest, ManifestError, Prefilter, PrefilterError, Spec, SpecError, componentize, sections};

/// The parts of a package, apart from the component. A missing part is taken from the component if it is a package
/// already, or from the manifest that `export_rule!` has put into the module.
#[derive(Default)]
pub struct Recipe<'a> {
    /// The rule's spec: Panther's YAML.
    pub spec: Option<&'a [u8]>,
    /// The rule's version.
    pub version: Option<&'a Version>,
    /// The prefilter as JSON, with a list of values for each field.
    pub prefilter: Option<&'a Map<String, Value>>,
    /// The key to sign with. An existing signature is removed.
    pub key: Option<&'a SigningKey>,
}

/// A package cannot be made.
#[derive(Debug, Error)]
pub enum PackError {
    /// The file is not WebAssembly.
    #[error("is not WebAssembly: it does not begin with the bytes \\0asm")]
    NoMagic,
    /// The file begins like WebAssembly and is not.
    #[error("is not valid WebAssembly: {0}")]
    NotWasm(wasmparser::BinaryReaderError),
    /// The core module cannot become a component.
    #[error(
        "is a core module that cannot become a component: {0}. It needs wit-bindgen's bindings for the world \
         portcullis:detection/detection, and no imports"
    )]
    Module(String),
    /// There is no spec.
    #[error("has no spec: give one with --spec rule.yml")]
    NoSpec,
    /// There is no version.
    #[error("has no version: give one with --version, such as --version 1.0.0")]
    NoVersion,
    /// The spec is not valid.
    #[error("the spec is refused: {0}")]
    Spec(SpecError),
    /// The manifest is not valid.
    #[error("the manifest is refused: {0}")]
    Manifest(ManifestError),
    /// The file is a package whose signature does not match.
    #[error("is refused: {0}")]
    Signature(SignatureError),
    /// The file has more than one of these sections.
    #[error("has {0} custom sections {1}; expected at most one")]
    Section(usize, &'static str),
    /// The prefilter is not valid.
    #[error("the prefilter {0}")]
    Prefilter(PrefilterError),
}

/// The result of [`pack`].
#[derive(Debug)]
pub struct Packed {
    /// The package.
    pub bytes: Vec<u8>,
    /// The key of a signature that was removed and not replaced.
    pub unsigned: Option<PublicKey>,
}

/// Makes a package of a component, or of a core module with wit-bindgen's sections. Functions of the crate `name` keep
/// their names. The package is valid only if it can be loaded, which is not checked here.
///
/// # Errors
/// A part is missing or not valid.
pub fn pack(wasm: &[u8], name: &str, recipe: &Recipe<'_>) -> Result<Packed, PackError> {
    if !wasm.starts_with(b"\0asm") {
        return Err(PackError::NoMagic);
    }
    for name in [sections::SPEC, sections::MANIFEST] {
        let found = sections::find(wasm, name).map_err(PackError::NotWasm)?.len();
        if found > 1 {
            return Err(PackError::Section(found, name));
        }
    }
    let mut parts = Parts::of(wasm).map_err(PackError::NotWasm)?;
    // Packing again must not hide changes that were made after signing.
    let signed = Signed::check(&parts, None).map_err(PackError::Signature)?;
    if Parser::is_core_wasm(wasm) {
        let component = componentize::component(&parts.component, name);
        parts.component = component.map_err(|error| PackError::Module(format!("{error:#}")))?;
    }
    let spec_yaml = recipe.spec.or(parts.spec).ok_or(PackError::NoSpec)?;
    let spec = Spec::from_yaml(spec_yaml).map_err(PackError::Spec)?;
    let manifest = manifest(parts.manifest, recipe)?;
    let Manifest { version, .. } = Manifest::from_json(&manifest).map_err(PackError::Manifest)?;

    let unsigned =
        Parts { component: parts.component, spec: Some(spec_yaml), manifest: Some(&manifest), signature: None };
    let signature = recipe.key.map(|key| key.sign(&unsigned, &spec.rule_id, &version));
    Ok(Packed {
        unsigned: signed.map(|signed| signed.signer).filter(|_| signature.is_none()),
        bytes: Parts { signature: signature.as_deref(), ..unsigned }.assemble(),
    })
}

/// Returns the manifest with the changes of the recipe. Without changes, its bytes stay the same.
fn manifest(present: Option<&[u8]>, recipe: &Recipe<'_>) -> Result<Vec<u8>, PackError> {
    if let (Some(present), None, None) = (present, recipe.version, recipe.prefilter) {
        return Ok(present.to_vec());
    }
    let before = present.map(Manifest::from_json).transpose().map_err(PackError::Manifest)?;
    let version = recipe.version.or(before.as_ref().map(|manifest| &manifest.version)).ok_or(PackError::NoVersion)?;
    let prefilter = match recipe.prefilter {
        Some(prefilter) => Prefilter::from_json(&Value::Object(prefilter.clone())).map_err(PackError::Prefilter)?,
        None => before.as_ref().map_or_else(Prefilter::default, |manifest| manifest.prefilter.clone()),
    };
    Ok(json!({"version": version.to_string(), "prefilter": prefilter.to_json()}).to_string().into_bytes())
}
