//! How a command ends, well or not.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::OnceLock;

use portcullis::printable;

/// The exit codes, which are documented API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    VectorFailed = 1,
    Usage = 2,
    Setup = 3,
    Io = 4,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        (exit as u8).into()
    }
}

/// Why a command ends early.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// Nobody reads an output any more, which is no error.
    pub(crate) fn closed_pipe() -> Self {
        Self { exit: Exit::Done, error: anyhow::Error::msg("closed pipe") }
    }

    /// The same, with what it is about.
    pub(crate) fn context(self, about: String) -> Self {
        Self { error: self.error.context(about), ..self }
    }

    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.exit == Exit::Done
    }

    pub(crate) fn report(self) -> ExitCode {
        self.say();
        self.exit.into()
    }

    /// The same, where the process ends by itself.
    pub(crate) fn report_and_code(&self) -> i32 {
        self.say();
        self.exit as i32
    }

    fn say(&self) {
        let why = format!("{:#}", self.error);
        match LOGS.get() {
            _ if self.is_closed_pipe() => {}
            Some(()) => tracing::error!("{why}"),
            None => say(why),
        }
    }
}

/// The first failure that is one: a closed pipe only if there is no other.
pub(crate) fn both(first: Result<(), Failure>, second: Result<(), Failure>) -> Result<(), Failure> {
    match (first, second) {
        (Err(first), Err(second)) if first.is_closed_pipe() => Err(second),
        (first, second) => first.and(second),
    }
}

/// Gives an error its exit code.
pub(crate) trait OrExit<T> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, error))
    }
}

/// Has what is said go to the log from now on, and not to the person at the terminal.
pub(super) fn say_to_the_log() {
    let _ = LOGS.set(());
}

static LOGS: OnceLock<()> = OnceLock::new();

/// Writes something for the person at the terminal to standard error, if it is still open.
pub(crate) fn say(text: impl Display) {
    if LOGS.get().is_some() {
        let text = text.to_string();
        // It is in capitals where somebody must act.
        let is_bad = text.contains("warning: ")
            || ["REFUSED", "SUSPENDED", "ROLLED BACK"].iter().any(|word| text.contains(word));
        return if is_bad { tracing::warn!("{text}") } else { tracing::info!("{text}") };
    }
    let text = format!("portcullis: {text}");
    for line in text.lines() {
        let _ = writeln!(std::io::stderr(), "{}", printable(line));
    }
}
