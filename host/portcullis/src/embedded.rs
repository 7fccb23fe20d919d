//! The embedded packages, one for each rule under `rules-wasm/`, and the components that run both rules in a pipeline
//! without a host. The build script makes them.

use crate::engine::Engine;
use crate::package::{Compiler, Package, PackageError};

/// Crate name and package of each rule, in the order of the names.
const PACKAGES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The detector component, the filter for Fluent Bit and the component for wasmCloud, each with its name.
pub const PIPELINES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/pipelines.rs"));

/// Returns the embedded rules, compiled in this process.
///
/// # Errors
/// The engine cannot compile one of them.
pub fn packages(engine: &Engine) -> Result<Vec<Package>, PackageError> {
    compiled(&Compiler::new(engine.clone()))
}

/// Returns the embedded rules, compiled by this compiler.
///
/// # Errors
/// The compiler cannot compile one of them.
pub fn compiled(compiler: &Compiler) -> Result<Vec<Package>, PackageError> {
    PACKAGES.iter().map(|(name, bytes)| compiler.package(bytes, &format!("the embedded {name}"))).collect()
}

/// The sources of the SDK and the WIT package for rules, each with its path in the crate of a rule.
pub const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));
