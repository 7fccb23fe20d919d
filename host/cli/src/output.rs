//! Outputs: files and standard output.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::ValueEnum;

use crate::failure::{Exit, Failure, OrExit};

/// The format of a report.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Human-readable text
    Text,
    /// JSON, one object a line
    Json,
}

/// A file, or standard output.
pub(crate) struct Output {
    name: String,
    writer: BufWriter<Box<dyn Write + Send>>,
    /// Whether a write has failed. The failure was reported, and nothing more is written.
    has_failed: bool,
}

impl Output {
    pub(crate) fn standard() -> Self {
        let writer = BufWriter::new(Box::new(io::stdout()) as Box<dyn Write + Send>);
        Self { name: "standard output".to_owned(), writer, has_failed: false }
    }

    /// Creates a file, or empties it if it exists.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).with_context(|| format!("{}: cannot be written", path.display()));
        let writer = BufWriter::new(Box::new(file.or_exit(Exit::Io)?) as Box<dyn Write + Send>);
        Ok(Self { name: path.display().to_string(), writer, has_failed: false })
    }

    pub(crate) fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.write_bytes(text.as_bytes())
    }

    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = if self.has_failed { Ok(()) } else { self.writer.write_all(bytes) };
        self.check(written)
    }

    pub(crate) fn write_line(&mut self, line: &str) -> Result<(), Failure> {
        self.write(line)?;
        self.write("\n")
    }

    /// Passes on everything that was written.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let flushed = if self.has_failed { Ok(()) } else { self.writer.flush() };
        self.check(flushed)
    }

    fn check(&mut self, result: io::Result<()>) -> Result<(), Failure> {
        self.has_failed |= result.is_err();
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::closed_pipe()),
            other => other.with_context(|| format!("{}: cannot be written", self.name)).or_exit(Exit::Io),
        }
    }
}

/// Writes a `.wasm` file, whole or not at all. An existing file with other content is overwritten only with `force`.
pub(crate) fn write_wasm(bytes: &[u8], file: &Path, force: bool) -> anyhow::Result<()> {
    let cannot = || format!("{}: cannot be written", file.display());
    match fs::metadata(file) {
        Ok(metadata) if !metadata.is_file() => bail!("{}: is not a regular file", file.display()),
        Ok(_) => {
            let there = fs::read(file).with_context(|| format!("{}: cannot be read", file.display()))?;
            if there == bytes {
                return Ok(());
            }
            if !force {
                bail!(
                    "{}: already exists with other content; overwrite it with --force, or choose another version or file",
                    file.display()
                );
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(cannot),
    }
    // The unfinished file is next to the target of a link, so that the rename works. Its name does not end in .wasm, so
    // that a run which follows the folder does not take it for a package.
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut part = tempfile::Builder::new()
        .prefix(".portcullis-")
        .suffix(".part")
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .with_context(cannot)?;
    part.write_all(bytes).with_context(cannot)?;
    let persisted = if force { part.persist(&file) } else { part.persist_noclobber(&file) };
    persisted.with_context(cannot)?;
    Ok(())
}

/// Reads a file of at most this many bytes.
pub(crate) fn read_bounded(file: &Path, longest: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(longest as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("{}: cannot be read", file.display()))?;
    if bytes.len() > longest {
        bail!("{}: is longer than {longest} bytes; expected a shorter file", file.display());
    }
    Ok(bytes)
}
