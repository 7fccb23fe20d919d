//! Making a package of a component, whoever wrote it and in whatever language.

use semver::Version;
use serde_json::{Map, Value, json};
use thiserror::Error;
use wasmparser::Parser;

use super::parts::Parts;
use super::signature::{PublicKey, SignatureError, Signed, SigningKey};
use super::{Manifest, ManifestError, Prefilter, PrefilterError, Spec, SpecError, componentize, sections};

/// What a package is made of, besides the component. What is not given is taken from the component, if it is a package
/// already, or from the manifest that `export_rule!` has put into the module.
#[derive(Default)]
pub struct Recipe<'a> {
    /// The rule's spec: Panther's YAML.
    pub spec: Option<&'a [u8]>,
    /// The rule's version.
    pub version: Option<&'a Version>,
    /// The prefilter as JSON, for each field a list of values.
    pub prefilter: Option<&'a Map<String, Value>>,
    /// Whose signature it gets; one that was there is taken away.
    pub key: Option<&'a SigningKey>,
}

/// No package can be made of it.
#[derive(Debug, Error)]
pub enum PackError {
    /// It is no WebAssembly.
    #[error("is no WebAssembly: {0}")]
    NotWasm(wasmparser::BinaryReaderError),
    /// It is a core module that no component can be made of.
    #[error(
        "is a core module of which no component can be made: {0}. It needs what wit-bindgen writes for the world \
         portcullis:detection/detection, and to import nothing"
    )]
    Module(String),
    /// There is no spec.
    #[error("has no spec of its own: give one with --spec rule.yml")]
    NoSpec,
    /// There is no version.
    #[error("has no version of its own: give one with --version, such as --version 1.0.0")]
    NoVersion,
    /// The spec is none.
    #[error("the spec is refused: {0}")]
    Spec(SpecError),
    /// The manifest is none.
    #[error("the manifest is refused: {0}")]
    Manifest(ManifestError),
    /// It is a package whose signature does not vouch for it.
    #[error("is refused: {0}")]
    Signature(SignatureError),
    /// It is a package that has one of these twice.
    #[error("has {0} custom sections {1}, and may have one")]
    Section(usize, &'static str),
    /// The prefilter is none.
    #[error("the prefilter {0}")]
    Prefilter(PrefilterError),
}

/// What [`pack`] makes.
#[derive(Debug)]
pub struct Packed {
    /// The package.
    pub bytes: Vec<u8>,
    /// Whose signature was taken away, without another in its place.
    pub unsigned: Option<PublicKey>,
}

/// The package of a component, or of a core module that wit-bindgen has prepared to be one; `name` is the crate's, whose
/// functions keep their names. It is yet to be loaded: only then it is known to be one that can run.
///
/// # Errors
/// Something is missing, or is not what it should be.
pub fn pack(wasm: &[u8], name: &str, recipe: &Recipe<'_>) -> Result<Packed, PackError> {
    for name in [sections::SPEC, sections::MANIFEST] {
        let found = sections::find(wasm, name).map_err(PackError::NotWasm)?.len();
        if found > 1 {
            return Err(PackError::Section(found, name));
        }
    }
    let mut parts = Parts::of(wasm).map_err(PackError::NotWasm)?;
    // What was changed after it was signed is not made good by being packed again.
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

/// The manifest that is there, with what the recipe changes. One that is not changed stays byte for byte.
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
