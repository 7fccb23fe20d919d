//! Packages from files and folders.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use thiserror::Error;

use crate::limits::PackageLimits;
use crate::package::{Compiler, Package, PackageError};

/// Packages cannot be loaded from a path.
#[derive(Debug, Error)]
pub enum FolderError {
    /// The path cannot be read.
    #[error("{path}: cannot be read: {error}", path = path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// The folder contains no package.
    #[error("{path}: contains no package: no file ends in .wasm", path = .0.display())]
    Empty(PathBuf),
    /// There are more packages than a tenant may have.
    #[error(
        "{path}: has {files} packages of {bytes} bytes; a tenant may have {most} of {most_bytes} bytes: remove old \
         versions",
        path = path.display(), most = PackageLimits::PACKAGES, most_bytes = PackageLimits::PACKAGES_SIZE
    )]
    TooMany {
        /// The first path.
        path: PathBuf,
        /// The number of packages.
        files: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// A file is not a valid package.
    #[error(transparent)]
    Package(#[from] PackageError),
}

/// Loads the packages of a path: a file, or all files with the ending `.wasm` in a folder, ordered by name.
///
/// # Errors
/// The path cannot be read, a folder contains no package, or a file is not a valid package.
pub fn read_packages(compiler: &Compiler, path: &Path) -> Result<Vec<Package>, FolderError> {
    let files = package_files(path)?;
    if files.is_empty() {
        return Err(FolderError::Empty(path.to_owned()));
    }
    let load = |file: PathBuf| {
        let candidate = compiler.read(&file).map_err(|error| FolderError::Unreadable { path: file, error })??;
        Ok(compiler.compile(Arc::new(candidate))?)
    };
    files.into_iter().map(load).collect()
}

/// Returns the file at a path, or all files with the ending `.wasm` in the folder there, ordered by name.
///
/// # Errors
/// The path cannot be read.
pub(crate) fn package_files(path: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let unreadable = |error| FolderError::Unreadable { path: path.to_owned(), error };
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file.extension().is_some_and(|ending| ending == "wasm") && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
