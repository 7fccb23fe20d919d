//! Panther's engine: a Python package, installed where this is built, and run by a driver of our own in another process.

use std::fs;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::engines::{Engine, Turn};
use crate::verdicts::Verdicts;

/// Which packages are installed.
const REQUIREMENTS: &str = include_str!("../../panther/requirements.txt");

/// The driver's two ends. It goes on until its input ends, which it does with this.
pub(crate) struct Panther {
    to: BufWriter<ChildStdin>,
    from: BufReader<ChildStdout>,
}

/// What the driver says first.
#[derive(Deserialize)]
pub(crate) struct Versions {
    engine: String,
    python: String,
}

/// What it says of records.
#[derive(Deserialize)]
struct Answer {
    seconds: f64,
    verdicts: String,
}

impl Panther {
    /// Installs the engine, unless it is there, and starts it with data models of this kind. Says its version too.
    pub(crate) fn start(kind: &str) -> Result<(Self, String)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let scratch = folder.join("target/panther");
        let mut command = Command::new(environment(&scratch)?);
        // Its engine puts the sources of data models among the temporary files.
        let temporary = scratch.join(kind);
        fs::create_dir_all(&temporary).with_context(|| format!("cannot create {}", temporary.display()))?;
        command.arg(folder.join("panther/driver.py")).arg(kind).env("TMPDIR", temporary);
        // Nothing is left beside the rules.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let child =
            child.context("cannot start the Python in peers/target/panther: remove that folder and try again")?;
        let (to, from) =
            child.stdin.zip(child.stdout).context("a started process has the pipes it was started with")?;
        let mut panther = Self { to: BufWriter::new(to), from: BufReader::new(from) };
        let Versions { engine, python } = panther.answer()?;
        Ok((panther, format!("{engine}, Python {python}")))
    }

    /// The driver's next line.
    fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        if self.from.read_line(&mut line).context("cannot read what peers/panther/driver.py says")? == 0 {
            bail!("peers/panther/driver.py has failed: it says above why");
        }
        serde_json::from_str(&line).context("peers/panther/driver.py does not print what is expected of it")
    }

    fn send(&mut self, records: &[&str]) -> std::io::Result<()> {
        writeln!(self.to, "{}", records.len())?;
        for record in records {
            writeln!(self.to, "{record}")?;
        }
        self.to.flush()
    }
}

impl Engine for Panther {
    /// The driver measures, and neither the start of Python nor what goes through pipes.
    fn turn(&mut self, records: &[&str]) -> Result<Turn> {
        // Where it fails, the driver has ended, and says why before this can.
        let sent = self.send(records);
        let Answer { seconds, verdicts } = self.answer()?;
        sent.context("cannot write to peers/panther/driver.py")?;
        let verdicts = verdicts.chars().map(Verdicts::from_digit).collect::<Option<_>>();
        let verdicts = verdicts.context("peers/panther/driver.py prints verdicts that are no digits from 0 to 3")?;
        Ok(Turn { time: Duration::try_from_secs_f64(seconds)?, verdicts })
    }
}

/// The Python of a virtual environment that has the required packages.
fn environment(scratch: &Path) -> Result<PathBuf> {
    let environment = scratch.join("venv");
    let python = environment.join("bin/python");
    let installed = environment.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|requirements| requirements == REQUIREMENTS) {
        return Ok(python);
    }
    eprintln!("installing Panther's engine");
    fs::create_dir_all(scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    let mut create = Command::new("python3");
    run(
        create.args(["-m", "venv", "--clear"]).arg(&environment),
        "cannot make a virtual environment for Panther's engine: install Python 3 with its venv module",
    )?;
    let requirements = scratch.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).with_context(|| format!("cannot write {}", requirements.display()))?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    run(
        install.arg(&requirements),
        "cannot install Panther's engine, the packages in peers/panther/requirements.txt: pip must reach a package index",
    )?;
    fs::write(&installed, REQUIREMENTS).with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(python)
}

/// Runs a command to its end. Where that is a bad one, the error ends with what the command said.
fn run(command: &mut Command, failed: &str) -> Result<()> {
    let output = command.output().with_context(|| failed.to_owned())?;
    if !output.status.success() {
        bail!("{failed}\n{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
