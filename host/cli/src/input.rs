//! Inputs: files and standard input.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{IsTerminal as _, Read, stdin};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use portcullis::read::decompressed;
use rustix::fs::OFlags;

use crate::failure::{Exit, Failure, OrExit, info};
use crate::stop::{Stop, Stoppable};

/// A file, or standard input for `-`.
pub(crate) struct Input {
    path: PathBuf,
}

impl Input {
    /// Returns the inputs with these names, or standard input without a name.
    ///
    /// # Errors
    /// A file cannot be read. All files are checked before the first record is read.
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

    /// Returns which file it is, if it is a regular file.
    pub(crate) fn identity(&self) -> Option<Identity> {
        if self.is_standard() { Identity::of_standard_input() } else { Identity::of(&self.path) }
    }

    /// Returns its name in messages.
    pub(crate) fn name(&self) -> String {
        if self.is_standard() { "standard input".to_owned() } else { self.path.display().to_string() }
    }

    /// Returns its length in bytes, if it is a regular file.
    pub(crate) fn length(&self) -> Option<u64> {
        let metadata = (!self.is_standard()).then(|| fs::metadata(&self.path).ok()).flatten()?;
        metadata.is_file().then_some(metadata.len())
    }

    /// Returns whether it can be read again: it is a regular file.
    pub(crate) fn stays(&self) -> bool {
        self.identity().is_some()
    }

    /// Opens it and returns its decompressed bytes, which end on a stop. `reading` wraps the reader of a file.
    pub(crate) fn open(
        &self,
        stop: &Arc<Stop>,
        reading: impl FnOnce(Stoppable) -> Box<dyn Read + Send>,
    ) -> Result<Box<dyn Read + Send>, Failure> {
        let cannot = || format!("{}: cannot be read", self.name());
        let stoppable = |input| Stoppable { input, stop: Arc::clone(stop) };
        let input: Box<dyn Read + Send> = if self.is_standard() {
            if stdin().is_terminal() {
                info("reading records from standard input; press Ctrl-D to end");
            }
            // The standard library's buffer would hide from `poll` that there is something to read.
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

/// The identity of a regular file, independent of its name, or the path of a file that does not exist yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The numbers of its device and inode.
    File(u64, u64),
    /// The path of a file that does not exist yet.
    New(PathBuf),
}

impl Identity {
    /// Returns the identity of a path. A pipe or a device has none.
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

/// Returns the first output that is one of the files that are taken, or an earlier output.
pub(crate) fn used_twice<'o>(
    mut taken: Vec<Identity>,
    outputs: impl IntoIterator<Item = &'o Path>,
) -> Option<&'o Path> {
    outputs.into_iter().find(|output| {
        let Some(file) = Identity::of(output) else { return false };
        let is_taken = taken.contains(&file);
        taken.push(file);
        is_taken
    })
}

/// Checks that a path can be read. A pipe is not opened, because closing it again would end its writer.
fn check(path: &Path) -> anyhow::Result<()> {
    let metadata = fs::metadata(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    if metadata.is_dir() {
        bail!("{}: is a folder; name the files in it, such as {}", path.display(), path.join("*").display());
    }
    if metadata.is_file() {
        let mut start = Vec::new();
        let read = open_file(path)?.take(64).read_to_end(&mut start);
        read.with_context(|| format!("{}: cannot be read", path.display()))?;
        if start.starts_with(b"\0asm") {
            bail!("{}: is WebAssembly, not records; to use it as a rule: --rules {0}", path.display());
        }
        // The first keys in the files of AWS and Google, and of Azure.
        let first_key = start.trim_ascii_start().strip_prefix(b"{").unwrap_or_default().trim_ascii_start();
        if [&b"\"syncToken\""[..], b"\"changeNumber\""].iter().any(|key| first_key.starts_with(key)) {
            bail!("{}: is a file of address ranges, not records; to use it: --cloud-ranges {0}", path.display());
        }
    }
    Ok(())
}

/// Opens a file. A named pipe without a writer opens at once, and the first read waits.
fn open_file(path: &Path) -> anyhow::Result<File> {
    let is_pipe = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    let flags = if is_pipe { OFlags::NONBLOCK } else { OFlags::empty() };
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    opened.with_context(|| format!("{}: cannot be read", path.display()))
}
