//! The data folder of a service.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use anyhow::anyhow;

use crate::error::ServeError;

/// The data folder of a service: everything that outlives the process. It is locked while this value lives.
#[derive(Debug)]
pub struct DataFolder {
    _lock: File,
}

impl DataFolder {
    /// The file that is locked.
    pub(crate) const LOCK: &str = "lock";

    /// Creates the folder if it is missing, and locks it, because two services would write to the same files.
    ///
    /// # Errors
    /// The folder cannot be created, or another service uses it.
    pub fn open(folder: &Path) -> Result<Self, ServeError> {
        fs::create_dir_all(folder)
            .map_err(|error| ServeError::Io(anyhow!("{}: cannot be created: {error}", folder.display())))?;
        let path = folder.join(Self::LOCK);
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
