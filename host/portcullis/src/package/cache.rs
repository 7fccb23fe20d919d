//! A cache of native code and of passed test cases, in a folder that only the user can write to.
//!
//! Anyone who can write such a file can run code. So only the process's own user may be able to write to the folder and
//! to each file in it.

use std::fs::{self, DirBuilder, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use portcullis_alert::hex;
use rustix::fs::OFlags;
use rustix::process::geteuid;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use wasmtime::component::Component;

use crate::engine::Engine;
use crate::limits::Limits;

/// A folder of native code.
#[derive(Clone, Debug)]
pub struct Cache(Arc<Path>);

/// A folder cannot be used as a cache.
#[derive(Debug, Error)]
pub enum CacheError {
    /// It cannot be created or read.
    #[error("{folder}: cannot be used as a cache: {1}", folder = .0.display())]
    Io(PathBuf, io::Error),
    /// Other users can write to it.
    #[error(
        "{folder}: cannot be used as a cache: {1}. Its files are run as native code: use a folder of your own with \
         mode 700, or one that does not exist yet",
        folder = .0.display()
    )]
    NotSafe(PathBuf, &'static str),
}

/// Bytes of a digest.
const DIGEST: usize = 32;

/// Maximum number of bytes of all files. Beyond it, those that were used least recently are removed.
const MOST: u64 = 1 << 30;

impl Cache {
    /// Opens the cache in a folder, which is created if it does not exist.
    ///
    /// # Errors
    /// The folder cannot be created, is not a folder, or other users can write to it.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        let failed = |error| CacheError::Io(folder.to_owned(), error);
        if !folder.exists() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        let metadata = fs::symlink_metadata(folder).map_err(failed)?;
        let wrong = if metadata.is_dir() { others_can_write(&metadata) } else { Some("it is not a folder") };
        match wrong {
            None => Ok(Self(folder.into())),
            Some(wrong) => Err(CacheError::NotSafe(folder.to_owned(), wrong)),
        }
    }

    /// Returns the cached component of a package, for an engine like this one; `None` if there is no usable one.
    pub(super) fn component(&self, engine: &Engine, sha256: &str) -> Option<Component> {
        let bytes = read(&self.file(engine, sha256))?;
        let (found, code) = bytes.split_at_checked(DIGEST)?;
        if digest(sha256, code) != *found {
            return None;
        }
        #[expect(unsafe_code, reason = "loads native code from the cache, which only this library wrote")]
        // SAFETY: only the process's own user can have written or replaced the file, and that user can run any code
        // anyway. The digest shows that the file is complete and belongs to this package, and the engine checks that
        // the code is for it.
        unsafe { Component::deserialize(engine.wasmtime(), code) }.ok()
    }

    /// Adds the native code of a package. If this fails, the package is compiled again the next time.
    pub(super) fn insert(&self, engine: &Engine, sha256: &str, code: &[u8]) {
        let written = self.write(&self.file(engine, sha256), &digest(sha256, code), code);
        let _ = written.and_then(|()| self.prune(MOST));
    }

    /// Writes a file that only the user can read and write. It gets its final name when it is complete.
    fn write(&self, file: &Path, digest: &[u8], content: &[u8]) -> io::Result<()> {
        let mut part = tempfile::NamedTempFile::new_in(&self.0)?;
        part.write_all(digest)?;
        part.write_all(content)?;
        part.persist(file)?;
        Ok(())
    }

    /// Returns the number of test cases that a package has passed under these limits, with an engine and a program like
    /// these; `None` if that is not known.
    pub(super) fn passed(&self, engine: &Engine, limits: &Limits, sha256: &str) -> Option<usize> {
        let bytes = read(&self.proof(engine, limits, sha256))?;
        let (found, count) = bytes.split_at_checked(DIGEST)?;
        (digest(sha256, count) == *found).then(|| str::from_utf8(count).ok()?.parse().ok()).flatten()
    }

    /// Notes that a package has passed its test cases. If this fails, they are run again the next time.
    pub(super) fn insert_passed(&self, engine: &Engine, limits: &Limits, sha256: &str, count: usize) {
        let count = count.to_string();
        let _ = self.write(&self.proof(engine, limits, sha256), &digest(sha256, count.as_bytes()), count.as_bytes());
    }

    /// Removes the files that were used least recently, until the others have at most this many bytes.
    fn prune(&self, most: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                files.push((metadata.modified()?, entry.path(), metadata.len()));
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, _, length)| length).sum();
        for (_, path, length) in files {
            if bytes <= most {
                break;
            }
            fs::remove_file(path)?;
            bytes -= length;
        }
        Ok(())
    }

    /// Returns the file of a package. It differs between versions, settings and processors of engines.
    fn file(&self, engine: &Engine, sha256: &str) -> PathBuf {
        let mut kind = DefaultHasher::new();
        engine.wasmtime().precompile_compatibility_hash().hash(&mut kind);
        self.0.join(format!("{sha256}-{}", hex(&kind.finish().to_be_bytes())))
    }

    /// Returns the file that says that a package has passed its test cases. It differs between versions of the program
    /// too, which reads the records, and between limits.
    fn proof(&self, engine: &Engine, limits: &Limits, sha256: &str) -> PathBuf {
        let mut kind = DefaultHasher::new();
        engine.wasmtime().precompile_compatibility_hash().hash(&mut kind);
        (env!("CARGO_PKG_VERSION"), limits, engine.stack()).hash(&mut kind);
        self.0.join(format!("{sha256}-{}.tests", hex(&kind.finish().to_be_bytes())))
    }
}

/// Returns the content of a file that only the user can have written.
fn read(file: &Path) -> Option<Vec<u8>> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(file)
        .ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || others_can_write(&metadata).is_some() {
        return None;
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    // Files that are used are kept longest. If the time cannot be set, this one is made again some day.
    let _ = file.set_modified(SystemTime::now());
    Some(bytes)
}

/// Returns the digest of a file's content, which is about a package.
fn digest(sha256: &str, content: &[u8]) -> [u8; DIGEST] {
    Sha256::new().chain_update(sha256).chain_update(content).finalize().into()
}

fn others_can_write(metadata: &Metadata) -> Option<&'static str> {
    if metadata.uid() != geteuid().as_raw() {
        Some("it belongs to another user")
    } else if metadata.mode() & 0o022 != 0 {
        Some("others can write to it")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_files_that_were_used_least_recently_are_removed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::open(&folder.path().join("cache")).expect("opened");
        for (name, age) in [("new", 1), ("old", 3), ("between", 2)] {
            let file = File::create(cache.0.join(name)).expect("created");
            file.set_len(100).expect("written");
            file.set_modified(SystemTime::now() - Duration::from_hours(age)).expect("set");
        }
        cache.prune(250).expect("pruned");
        let mut names: Vec<_> =
            fs::read_dir(&cache.0).expect("read").flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        assert_eq!(names, ["between", "new"]);
    }
}
