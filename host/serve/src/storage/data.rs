//! The data folder of a service.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::anyhow;

use crate::error::ServeError;

/// The data folder of a service: everything that outlives the process. It is locked while this value lives.
#[derive(Debug)]
pub struct DataFolder {
    _lock: File,
}

impl DataFolder {
    /// Creates the folder if it is missing, and locks it, because two services would write to the same files.
    ///
    /// # Errors
    /// The folder cannot be created, or another service uses it.
    pub fn open(folder: &Path) -> Result<Self, ServeError> {
        fs::create_dir_all(folder)
            .map_err(|error| ServeError::Io(anyhow!("{}: cannot be created: {error}", folder.display())))?;
        let path = folder.join("lock");
        let file = File::create(&path)
            .map_err(|error| ServeError::Setup(anyhow!("{}: cannot be written: {error}", path.display())))?;
        file.try_lock().map_err(|error| {
            ServeError::Setup(match error {
                TryLockError::WouldBlock => anyhow!(
                    "data: {}: another service uses this folder; give each replica a folder of its own",
                    folder.display()
                ),
                TryLockError::Error(error) => anyhow!("{}: cannot be locked: {error}", path.display()),
            })
        })?;
        Ok(Self { _lock: file })
    }
}

/// Writes a file whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // The name of an unfinished file must not end like a package's, because the folder may be followed.
    let mut part = tempfile::Builder::new().prefix(".portcullis-").suffix(".part").tempfile_in(folder)?;
    part.write_all(bytes)?;
    part.as_file().sync_all()?;
    part.persist(path)?;
    Ok(())
}

/// Writes a file whole, or removes it without bytes.
pub(crate) fn write_or_remove(path: &Path, bytes: Option<&[u8]>) -> io::Result<()> {
    match bytes {
        Some(bytes) => write_whole(path, bytes),
        None => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}
