//! Where results go.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::ValueEnum;

use crate::failure::{Exit, Failure, OrExit};

/// How a report is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For a person
    Text,
    /// For a program
    Json,
}

/// A file, or standard output.
pub(crate) struct Output {
    name: String,
    writer: BufWriter<Box<dyn Write + Send>>,
    /// It has failed once, which has been told, and gets no more.
    has_failed: bool,
}

impl Output {
    pub(crate) fn standard() -> Self {
        let writer = BufWriter::new(Box::new(io::stdout()) as Box<dyn Write + Send>);
        Self { name: "standard output".to_owned(), writer, has_failed: false }
    }

    /// A file, which is emptied first.
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

    /// Passes on to the reader what was written.
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

/// Writes a package, or another `.wasm` file, whole or not at all. A file that is there with other bytes is somebody's: it
/// stays, unless `force` says otherwise.
pub(crate) fn write_wasm(bytes: &[u8], file: &Path, force: bool) -> anyhow::Result<()> {
    let cannot = || format!("{}: cannot be written", file.display());
    match fs::metadata(file) {
        Ok(metadata) if !metadata.is_file() => bail!("{}: is no regular file; name one", file.display()),
        Ok(_) => {
            let there = fs::read(file).with_context(|| format!("{}: cannot be read", file.display()))?;
            if there == bytes {
                return Ok(());
            }
            if !force {
                bail!(
                    "{}: is there with other content; write over it with --force, give this one another version, or choose another place for it",
                    file.display()
                );
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(cannot),
    }
    // Where a link leads, and under a name of its own there until it is whole, which does not end in .wasm: who follows the
    // folder does not take it for a package.
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

/// The bytes of a file that is to be no longer than this.
pub(crate) fn read_bounded(file: &Path, longest: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(longest as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("{}: cannot be read", file.display()))?;
    if bytes.len() > longest {
        bail!("{}: is longer than {longest} bytes, which what is asked for here never is", file.display());
    }
    Ok(bytes)
}
