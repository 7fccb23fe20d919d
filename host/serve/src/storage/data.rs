//! The data folder of a service.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::error::ServeError;

/// The time for which a lock of a service that has just ended is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

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
        // A process that compiles a package has the parent's files until it runs its own program, also after the parent
        // has ended.
        let began = Instant::now();
        while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && began.elapsed() < PATIENCE {
            thread::sleep(PATIENCE / 40);
        }
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
