//! Where records come from.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{IsTerminal as _, Read, stdin};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use portcullis::read::decompressed;
use rustix::fs::OFlags;

use crate::failure::{Exit, Failure, OrExit, say};
use crate::stop::{Stop, Stoppable};

/// A file, or standard input for `-`.
pub(crate) struct Input {
    path: PathBuf,
}

impl Input {
    /// The inputs that were named, or standard input without a name.
    ///
    /// # Errors
    /// One of the files cannot be read: known before the first record is.
    pub(crate) fn all(paths: &[PathBuf]) -> Result<Vec<Self>, Failure> {
        let paths = if paths.is_empty() { &[PathBuf::from("-")] } else { paths };
        let inputs: Vec<Self> = paths.iter().map(|path| Self { path: path.clone() }).collect();
        if inputs.iter().filter(|input| input.is_standard()).count() > 1 {
            return Err(Failure::new(Exit::Usage, anyhow::Error::msg("standard input (-) can be read only once")));
        }
        for input in inputs.iter().filter(|input| !input.is_standard()) {
            check(&input.path).or_exit(Exit::Io)?;
        }
        Ok(inputs)
    }

    /// Which file it is, if it lies on a disk.
    pub(crate) fn identity(&self) -> Option<Identity> {
        if self.is_standard() { Identity::of_standard_input() } else { Identity::of(&self.path) }
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> String {
        if self.is_standard() { "standard input".to_owned() } else { self.path.display().to_string() }
    }

    /// How many bytes it has, if it lies on a disk.
    pub(crate) fn length(&self) -> Option<u64> {
        let metadata = (!self.is_standard()).then(|| fs::metadata(&self.path).ok()).flatten()?;
        metadata.is_file().then_some(metadata.len())
    }

    /// Whether what is not read of it can be read another time.
    pub(crate) fn stays(&self) -> bool {
        self.identity().is_some()
    }

    /// Its bytes, decompressed, until no more are wanted; `reading` sees a file's as they are read.
    pub(crate) fn open(
        &self,
        stop: &Arc<Stop>,
        reading: impl FnOnce(Stoppable) -> Box<dyn Read + Send>,
    ) -> Result<Box<dyn Read + Send>, Failure> {
        let cannot = || format!("{}: cannot be read", self.name());
        let stoppable = |input| Stoppable { input, stop: Arc::clone(stop) };
        let input: Box<dyn Read + Send> = if self.is_standard() {
            if stdin().is_terminal() {
                say("reading records from standard input; Ctrl-D ends");
            }
            // Not through the library's buffer, behind which nobody sees whether there is something to read.
            let input = stdin().as_fd().try_clone_to_owned().with_context(cannot).or_exit(Exit::Io)?;
            Box::new(stoppable(File::from(input)))
        } else {
            reading(stoppable(open_file(&self.path).or_exit(Exit::Io)?))
        };
        decompressed(input).with_context(cannot).or_exit(Exit::Io)
    }

    fn is_standard(&self) -> bool {
        self.path == Path::new("-")
    }
}

/// A file that lies on a disk, whatever name it was given; or where one would come to lie.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// By its device and its number there.
    File(u64, u64),
    /// A path that leads nowhere yet.
    New(PathBuf),
}

impl Identity {
    /// None of what is no regular file, as a pipe or a device.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        if let Ok(metadata) = fs::metadata(path) {
            return Self::of_metadata(&metadata);
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        Some(Self::New(folder.join(path.file_name()?)))
    }

    fn of_standard_input() -> Option<Self> {
        let stdin = stdin().as_fd().try_clone_to_owned().ok()?;
        Self::of_metadata(&File::from(stdin).metadata().ok()?)
    }

    fn of_metadata(metadata: &Metadata) -> Option<Self> {
        metadata.is_file().then(|| Self::File(metadata.dev(), metadata.ino()))
    }
}

/// Whether a path can be read. A pipe is not opened: closing it again would end its writer.
fn check(path: &Path) -> anyhow::Result<()> {
    let metadata = fs::metadata(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    if metadata.is_dir() {
        bail!("{}: is a folder; name the files in it", path.display());
    }
    if metadata.is_file() {
        let mut start = Vec::new();
        let read = open_file(path)?.take(64).read_to_end(&mut start);
        read.with_context(|| format!("{}: cannot be read", path.display()))?;
        if start.starts_with(b"\0asm") {
            bail!("{}: is WebAssembly and no records; name a package with --rules {0}", path.display());
        }
        // As AWS and Google begin theirs, and as Azure does.
        let first_key = start.trim_ascii_start().strip_prefix(b"{").unwrap_or_default().trim_ascii_start();
        if [&b"\"syncToken\""[..], b"\"changeNumber\""].iter().any(|key| first_key.starts_with(key)) {
            bail!("{}: is a file of address ranges and no records; name each with --cloud-ranges {0}", path.display());
        }
    }
    Ok(())
}

/// A named pipe that nobody writes to yet is open at once: it is reading that waits.
fn open_file(path: &Path) -> anyhow::Result<File> {
    let is_pipe = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    let flags = if is_pipe { OFlags::NONBLOCK } else { OFlags::empty() };
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    opened.with_context(|| format!("{}: cannot be read", path.display()))
}
