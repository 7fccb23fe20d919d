//! Packages from files, and the embedded ones.

use std::path::PathBuf;

use portcullis::rule_set::read_packages;
use portcullis::{Compiler, Engine, Package, PackageLimits, embedded};

use crate::failure::{Exit, Failure, OrExit};

/// Returns a compiler for packages from files. It runs in a child process, because such a package is not trusted.
pub(crate) fn compiler(engine: &Engine, limits: PackageLimits) -> Compiler {
    Compiler::new(engine.clone()).with_limits(limits).in_child()
}

/// Loads the packages of these paths, or the embedded ones without a path.
pub(crate) fn load_packages(
    engine: &Engine,
    paths: &[PathBuf],
    limits: PackageLimits,
) -> Result<Vec<Package>, Failure> {
    if paths.is_empty() {
        return embedded::packages(engine).or_exit(Exit::Setup);
    }
    let compiler = compiler(engine, limits);
    let mut packages = Vec::new();
    for path in paths {
        packages.extend(read_packages(&compiler, path).or_exit(Exit::Setup)?);
    }
    Ok(packages)
}
