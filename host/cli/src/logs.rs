//! The log of the service.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The environment variable with the level.
const LEVEL: &str = "PORTCULLIS_LOG";

/// The levels, with their filters. Of libraries, only warnings are of interest.
const LEVELS: [(&str, &str); 4] =
    [("error", "error"), ("warn", "warn"), ("info", "warn,portcullis=info"), ("debug", "warn,portcullis=debug")];

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Human-readable text
    Text,
    /// One JSON object a line
    Json,
}

/// Writes the log to standard error from now on.
pub(crate) fn begin(format: Option<Format>) {
    let on_terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if on_terminal { Format::Text } else { Format::Json });
    let level = std::env::var(LEVEL).ok().filter(|level| !level.is_empty());
    let known = LEVELS.iter().find(|(name, _)| *name == level.as_deref().unwrap_or("info"));
    let (_, filter) = known.unwrap_or(&LEVELS[2]);
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_target(false);
    match format {
        Format::Text => log.with_ansi(on_terminal).init(),
        Format::Json => log.json().flatten_event(true).init(),
    }
    if let (None, Some(level)) = (known, level) {
        tracing::warn!("{LEVEL}: unknown level {level}; expected error, warn, info or debug; info is used");
    }
}
