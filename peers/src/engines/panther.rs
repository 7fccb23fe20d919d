//! Panther's engine: a Python package that is installed under `peers/target`, and run in another process by
//! `panther/driver.py`.

use std::fs;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::engines::{Engine, Judged};
use crate::verdicts::Verdicts;

/// The packages to install.
const REQUIREMENTS: &str = include_str!("../../panther/requirements.txt");

/// The pipes of a running driver. Dropping them ends the driver.
pub(crate) struct Panther {
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// The driver's first line: its versions.
#[derive(Deserialize)]
pub(crate) struct Versions {
    engine: String,
    python: String,
}

/// The driver's response to some records.
#[derive(Deserialize)]
struct Response {
    seconds: f64,
    verdicts: String,
}

impl Panther {
    /// Installs the engine if it is missing, and starts it with data models of this kind. Returns its version too.
    pub(crate) fn start(kind: &str) -> Result<(Self, String)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let scratch = folder.join("target/panther");
        let mut command = Command::new(environment(&scratch)?);
        // The engine writes the sources of data models to the folder for temporary files.
        let temporary = scratch.join(kind);
        fs::create_dir_all(&temporary).with_context(|| format!("cannot create {}", temporary.display()))?;
        command.arg(folder.join("panther/driver.py")).arg(kind).env("TMPDIR", temporary);
        // Leaves no compiled files next to the rules.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let child =
            child.context("cannot start the Python in peers/target/panther: remove that folder and try again")?;
        let (input, output) =
            child.stdin.zip(child.stdout).context("the process was started without the pipes that were asked for")?;
        let mut panther = Self { input: BufWriter::new(input), output: BufReader::new(output) };
        let Versions { engine, python } = panther.receive()?;
        Ok((panther, format!("{engine}, Python {python}")))
    }

    /// Reads the driver's next line.
    fn receive<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        if self.output.read_line(&mut line).context("cannot read the output of peers/panther/driver.py")? == 0 {
            bail!("peers/panther/driver.py failed (its error is above)");
        }
        serde_json::from_str(&line)
            .with_context(|| format!("peers/panther/driver.py printed an unexpected line: {}", line.trim_end()))
    }

    fn send(&mut self, records: &[&str]) -> std::io::Result<()> {
        writeln!(self.input, "{}", records.len())?;
        for record in records {
            writeln!(self.input, "{record}")?;
        }
        self.input.flush()
    }
}

impl Engine for Panther {
    /// The driver measures the time, which leaves out the start of Python and the transfer through pipes.
    fn judge_all(&mut self, records: &[&str]) -> Result<Judged> {
        // If sending fails, the driver has ended. Its failure is reported first, because it is the cause.
        let sent = self.send(records);
        let Response { seconds, verdicts } = self.receive()?;
        sent.context("cannot write to peers/panther/driver.py")?;
        let verdicts = verdicts.chars().map(Verdicts::from_digit).collect::<Option<_>>();
        let verdicts =
            verdicts.context("peers/panther/driver.py printed an invalid verdict, expected digits from 0 to 3")?;
        Ok(Judged { time: Duration::try_from_secs_f64(seconds)?, verdicts })
    }
}

/// Returns the Python of a virtual environment that has the required packages.
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
        "cannot create a virtual environment for Panther's engine: install Python 3 with its venv module",
    )?;
    let requirements = scratch.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).with_context(|| format!("cannot write {}", requirements.display()))?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    run(
        install.arg(&requirements),
        "cannot install the packages in peers/panther/requirements.txt: check that pip can reach a package index",
    )?;
    fs::write(&installed, REQUIREMENTS).with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(python)
}

/// Runs a command to its end. If it fails, the error includes the command's output.
fn run(command: &mut Command, failed: &str) -> Result<()> {
    let output = command.output().with_context(|| failed.to_owned())?;
    if !output.status.success() {
        bail!("{failed}\n{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
