//! Packages from files and folders.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::{Compiler, Package, PackageError};

/// Packages cannot be loaded from a path.
#[derive(Debug, Error)]
pub enum FolderError {
    /// A path that cannot be read.
    #[error("{path}: cannot be read: {error}", path = path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A folder without packages.
    #[error("{path}: holds no package: no file with the ending .wasm", path = .0.display())]
    Empty(PathBuf),
    /// A file that is no package.
    #[error(transparent)]
    Package(#[from] PackageError),
}

/// Loads the packages of a path: a file, or a folder of files with the ending `.wasm`, in the order of their names.
///
/// # Errors
/// The path cannot be read, a folder holds no package, or a file is none that can be run.
pub fn read_packages(compiler: &Compiler, path: &Path) -> Result<Vec<Package>, FolderError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error| FolderError::Unreadable { path, error }
    };
    let files = if fs::metadata(path).map_err(unreadable(path))?.is_dir() {
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(unreadable(path))? {
            let file = entry.map_err(unreadable(path))?.path();
            if file.extension().is_some_and(|ending| ending == "wasm") && file.is_file() {
                files.push(file);
            }
        }
        files.sort();
        files
    } else {
        vec![path.to_owned()]
    };
    if files.is_empty() {
        return Err(FolderError::Empty(path.to_owned()));
    }
    files.into_iter().map(|file| Ok(compiler.read(&file).map_err(unreadable(&file))??)).collect()
}
