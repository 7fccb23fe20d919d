//! Where records come from.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal as _, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::failure::{Exit, Failure, OrExit, say};

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
            open_file(&input.path).or_exit(Exit::Io)?;
        }
        Ok(inputs)
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> String {
        if self.is_standard() { "standard input".to_owned() } else { self.path.display().to_string() }
    }

    pub(crate) fn open(&self) -> Result<Box<dyn BufRead>, Failure> {
        if !self.is_standard() {
            return Ok(Box::new(BufReader::with_capacity(1 << 18, open_file(&self.path).or_exit(Exit::Io)?)));
        }
        if stdin().is_terminal() {
            say("reading records from standard input, one JSON object a line; Ctrl-D ends");
        }
        Ok(Box::new(stdin().lock()))
    }

    fn is_standard(&self) -> bool {
        self.path == Path::new("-")
    }
}

fn open_file(path: &Path) -> anyhow::Result<File> {
    let file = File::open(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    if file.metadata().with_context(|| format!("{}: cannot be read", path.display()))?.is_dir() {
        bail!("{}: is a folder; name the files in it", path.display());
    }
    Ok(file)
}
