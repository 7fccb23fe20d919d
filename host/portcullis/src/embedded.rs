//! What comes with the host: every rule under `rules-wasm/`, as the package that the build script made of it, and what takes
//! both rules into a pipeline that has no host.

use crate::engine::Engine;
use crate::package::{Compiler, Package, PackageError};

/// Crate name and package of each rule, by name.
const PACKAGES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The detector component, the filter for Fluent Bit and the component for wasmCloud: by name, what runs there.
pub const PIPELINES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/pipelines.rs"));

/// The default rules.
///
/// # Errors
/// The engine does not compile one of them.
pub fn packages(engine: &Engine) -> Result<Vec<Package>, PackageError> {
    compiled(&Compiler::new(engine.clone()))
}

/// The same, compiled by this compiler.
///
/// # Errors
/// It does not compile one of them.
pub fn compiled(compiler: &Compiler) -> Result<Vec<Package>, PackageError> {
    PACKAGES.iter().map(|(name, bytes)| compiler.package(bytes, &format!("the embedded {name}"))).collect()
}

/// The sources of the SDK and its contract with hosts, by their paths in the crate of a rule.
pub const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));
