//! Exit codes, errors, and messages to the person at the terminal.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::OnceLock;

use portcullis::alert::printable;
use portcullis::report::{Level, Notification};

/// The exit codes. They are part of the documented interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    TestFailed = 1,
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

/// An error that ends a command, with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// Returns the failure of an output whose reader is gone. It is not an error, and the exit code is 0.
    pub(crate) fn closed_pipe() -> Self {
        Self { exit: Exit::Done, error: anyhow::Error::msg("closed pipe") }
    }

    /// Adds what the error is about.
    pub(crate) fn context(self, about: String) -> Self {
        Self { error: self.error.context(about), ..self }
    }

    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.exit == Exit::Done
    }

    pub(crate) fn report(self) -> ExitCode {
        self.print();
        self.exit.into()
    }

    fn print(&self) {
        let why = format!("{:#}", self.error);
        match LOGS.get() {
            _ if self.is_closed_pipe() => {}
            #[cfg(feature = "serve")]
            Some(()) => tracing::error!("{why}"),
            _ => info(why),
        }
    }
}

/// Returns the first failure. A closed pipe counts only if there is no other failure.
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

/// Writes all further messages to the log instead of the terminal.
#[cfg(feature = "serve")]
pub(crate) fn use_log() {
    let _ = LOGS.set(());
}

/// Set when a service keeps a log.
static LOGS: OnceLock<()> = OnceLock::new();

/// Writes a message to standard error, if it is still open.
pub(crate) fn info(text: impl Display) {
    write(Level::Info, &text);
}

/// Writes a warning. The text itself must begin with `warning: `.
pub(crate) fn warn(text: impl Display) {
    write(Level::Warning, &text);
}

/// Writes a notification.
pub(crate) fn notify(notification: &Notification) {
    write(notification.level, notification);
}

fn write(level: Level, text: &dyn Display) {
    if LOGS.get().is_some() {
        return log(level, text);
    }
    let text = format!("portcullis: {text}");
    for line in text.lines() {
        let _ = writeln!(std::io::stderr(), "{}", printable(line));
    }
}

#[cfg(feature = "serve")]
fn log(level: Level, text: &dyn Display) {
    match level {
        Level::Warning => tracing::warn!("{text}"),
        Level::Info => tracing::info!("{text}"),
    }
}

#[cfg(not(feature = "serve"))]
fn log(_: Level, _: &dyn Display) {}
