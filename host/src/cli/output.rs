//! Where results go.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, bail};
use portcullis::Package;

use super::failure::{Exit, Failure, OrExit};

/// A file, or standard output.
pub(crate) struct Output {
    name: String,
    writer: BufWriter<Box<dyn Write + Send>>,
}

impl Output {
    pub(crate) fn standard() -> Self {
        let writer = BufWriter::new(Box::new(io::stdout()) as Box<dyn Write + Send>);
        Self { name: "standard output".to_owned(), writer }
    }

    /// A file, which is emptied first.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).with_context(|| format!("{}: cannot be written", path.display()));
        let writer = BufWriter::new(Box::new(file.or_exit(Exit::Io)?) as Box<dyn Write + Send>);
        Ok(Self { name: path.display().to_string(), writer })
    }

    pub(crate) fn write(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.writer.write_all(text.as_bytes());
        self.check(written)
    }

    pub(crate) fn write_line(&mut self, line: &str) -> Result<(), Failure> {
        self.write(line)?;
        self.write("\n")
    }

    /// Passes on to the reader what was written.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let flushed = self.writer.flush();
        self.check(flushed)
    }

    fn check(&self, result: io::Result<()>) -> Result<(), Failure> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::closed_pipe()),
            other => other.with_context(|| format!("{}: cannot be written", self.name)).or_exit(Exit::Io),
        }
    }
}

/// Writes a package whole or not at all. A file that is there with other bytes is somebody's: it stays, unless `force`
/// says otherwise.
pub(crate) fn write_package(package: &Package, file: &Path, force: bool) -> anyhow::Result<()> {
    match fs::read(file) {
        Ok(bytes) if bytes == package.bytes() => return Ok(()),
        Ok(_) if !force => {
            bail!("{}: is there with other content; remove it, or choose another place for it", file.display())
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("{}: cannot be read", file.display())),
    }
    // Not ending in .wasm: who follows the folder does not take it for a package.
    let part = file.with_extension("wasm.part");
    fs::write(&part, package.bytes())
        .and_then(|()| fs::rename(&part, file))
        .with_context(|| format!("{}: cannot be written", file.display()))
}
