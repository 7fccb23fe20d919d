//! Packages from files.

use portcullis::{Compiler, Engine, PackageLimits};

/// Returns a compiler for packages from files. It runs in a child process, because such a package is not trusted.
pub(crate) fn compiler(engine: &Engine, limits: PackageLimits) -> Compiler {
    Compiler::new(engine.clone()).with_limits(limits).in_child()
}
