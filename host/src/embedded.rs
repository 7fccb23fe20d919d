//! The rules that come with the host: every rule under `rules-wasm/`, as the package that the build script made of it.

use crate::{Compiler, Engine, Package, PackageError};

/// Crate name and package of each rule, by name.
const PACKAGES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

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
