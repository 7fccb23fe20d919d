//! The disk: files that are appended to, and files that are written whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A disk. A simulation has one that fills, fails and forgets what was not synced.
pub(crate) trait Disk: Send + Sync {
    /// Opens or creates a file to append to. Until the file is closed, it cannot be opened again, by any process.
    fn open(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;

    /// Creates a folder and its parents, if they are missing.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Returns the names of the files in a folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Returns at most this many bytes of a file, from a position.
    fn read(&self, path: &Path, from: u64, most: u64) -> io::Result<Vec<u8>>;

    /// Returns the length of a file in bytes.
    fn length(&self, path: &Path) -> io::Result<u64>;

    /// Writes a file whole or not at all. On success it is on the disk.
    fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Removes a file, if it exists.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// An open file to append to.
pub(crate) trait AppendFile: Send {
    /// Appends bytes. On success they are on the disk. After an error, any part of them may be in the file.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns the length in bytes.
    fn length(&mut self) -> io::Result<u64>;

    /// Returns the last bytes, at most this many.
    fn tail(&mut self, most: u64) -> io::Result<Vec<u8>>;

    /// Shortens the file.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Checks whether this many bytes could be appended now.
    fn check_space(&mut self, bytes: u64) -> io::Result<()>;

    /// Returns whether the file of this name is still this one.
    fn is_at(&mut self, path: &Path) -> bool;
}

/// Returns the whole content of a file, or `None` if there is no such file.
pub(crate) fn read_whole(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match disk.read(path, 0, u64::MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The machine's disk.
pub(crate) struct RealDisk;

struct RealFile(File);

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        // In append mode, a write goes to the end even if another program has shortened the file meanwhile.
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::ResourceBusy,
                "it is already open as another output of this service or of another process; give each output a \
                 file of its own",
            ),
            TryLockError::Error(error) => error,
        })?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            sync_folder(folder)?;
        }
        Ok(Box::new(RealFile(file)))
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn read(&self, path: &Path, from: u64, most: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        // The name of an unfinished file must not end like a package's, because the folder may be followed.
        let mut part = tempfile::Builder::new().prefix(".portcullis-").suffix(".part").tempfile_in(folder)?;
        part.write_all(bytes)?;
        part.as_file().sync_all()?;
        part.persist(path)?;
        sync_folder(folder)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

impl AppendFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.sync_data()
    }

    fn length(&mut self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn tail(&mut self, most: u64) -> io::Result<Vec<u8>> {
        let length = self.length()?;
        self.0.seek(SeekFrom::Start(length.saturating_sub(most)))?;
        let mut tail = Vec::new();
        // A device may have no length and no end.
        (&mut self.0).take(most.min(length)).read_to_end(&mut tail)?;
        Ok(tail)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        // A device has no length, and nothing to shorten.
        if self.0.metadata()?.is_file() { self.0.set_len(length) } else { Ok(()) }
    }

    fn check_space(&mut self, bytes: u64) -> io::Result<()> {
        self.0.sync_data()?;
        let disk = rustix::fs::fstatvfs(&self.0)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn is_at(&mut self, path: &Path) -> bool {
        let (Ok(own), Ok(there)) = (self.0.metadata(), fs::metadata(path)) else { return false };
        (own.dev(), own.ino()) == (there.dev(), there.ino())
    }
}
