//! The outputs of a run.

use std::path::PathBuf;

use crate::sink::Format;

/// Where the results of a run go, and in which form.
#[derive(Clone, Debug)]
pub(crate) struct OutputOptions {
    /// The form of alerts; without it, text on a terminal and NDJSON elsewhere.
    pub(crate) format: Option<Format>,
    /// Whether alerts are grouped into incidents.
    pub(crate) incidents: bool,
    /// Whether texts say what to do.
    pub(crate) runbook: bool,
    /// The file of alerts; without it, standard output.
    pub(crate) alerts: Option<PathBuf>,
    /// The file of records that are rejected, have malformed fields or made a rule fault.
    pub(crate) rejects: Option<PathBuf>,
    /// The file with a line for each record.
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
