//! The log of the service.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

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
    let filter = EnvFilter::builder().with_env_var("PORTCULLIS_LOG").try_from_env();
    // Of libraries, only warnings are of interest.
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("warn,portcullis=info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        Format::Text => log.with_ansi(on_terminal).init(),
        Format::Json => log.json().flatten_event(true).init(),
    }
}
