//! The outputs of a run.

use std::path::PathBuf;

use portcullis::alert::TextStyle;

use crate::sink::Format;

/// The outputs of a run and their formats.
#[derive(Clone, Debug)]
pub(crate) struct OutputOptions {
    /// The format of alerts. Without it: text on a terminal, else NDJSON.
    pub(crate) format: Option<Format>,
    /// Whether alerts are grouped into incidents.
    pub(crate) incidents: bool,
    /// What alerts as text contain.
    pub(crate) style: TextStyle,
    /// The file of alerts. Without it: standard output.
    pub(crate) alerts: Option<PathBuf>,
    /// The file of records that are rejected, have malformed fields or made a rule fault.
    pub(crate) rejects: Option<PathBuf>,
    /// The file with one line for each record.
    pub(crate) ledger: Option<PathBuf>,
    /// Whether progress and summary are left out.
    pub(crate) quiet: bool,
}

impl OutputOptions {
    /// Returns whether the alerts are written into the lines of the input.
    pub(crate) fn annotates(&self) -> bool {
        self.format == Some(Format::Annotated)
    }
}
