//! Where alerts go, and how they are written.

use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::Timestamp;
use portcullis::alert::TextStyle;
use portcullis::incidents::Incident;
use portcullis::package::Spec;
use portcullis::{Alert, ocsf};
use serde_json::json;

use crate::failure::{Exit, Failure, OrExit};
use crate::output::Output;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For a person
    Text,
    /// One JSON object a line
    Ndjson,
    /// One OCSF Detection Finding (class 2004) a line
    Ocsf,
    /// A line for each line of the input, for filters that must answer each: as it came, or where a rule matches its object
    /// with one more member, "portcullis":{"verdict":"alert","alerts":[…]}. No value may go on in the next line. The answer
    /// to a line with many records has the alerts of all of them; where such a line is no object, it is one with the line's
    /// text as "message". Of a line over 64 MiB the beginning comes
    Annotated,
}

/// Takes alerts, and incidents that are over.
pub(crate) struct Sink {
    format: Format,
    style: TextStyle,
    output: Output,
    on_terminal: bool,
}

impl Sink {
    /// A file, or standard output.
    pub(crate) fn open(file: Option<&Path>, format: Option<Format>, runbook: bool) -> Result<Self, Failure> {
        let on_terminal = file.is_none() && std::io::stdout().is_terminal();
        let default = if on_terminal { Format::Text } else { Format::Ndjson };
        Ok(Self {
            format: format.unwrap_or(default),
            style: TextStyle { color: on_terminal && color_is_wanted(), runbook },
            output: file.map_or_else(|| Ok(Output::standard()), Output::create)?,
            on_terminal,
        })
    }

    /// Whether what is written shows on the terminal.
    pub(crate) fn on_terminal(&self) -> bool {
        self.on_terminal
    }

    pub(crate) fn alert(&mut self, alert: &Alert, spec: &Spec) -> Result<(), Failure> {
        let text = match self.format {
            Format::Text => alert.text(self.style),
            Format::Ndjson => {
                serde_json::to_string(alert).context("cannot write an alert as JSON").or_exit(Exit::Io)?
            }
            Format::Ocsf => ocsf::finding(alert, spec, Timestamp::now()).to_string(),
            // In its line.
            Format::Annotated => return Ok(()),
        };
        self.write(&text)
    }

    /// A line of the input, with what was said about it; passed on with the next flush.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<(), Failure> {
        self.output.write_bytes(line)?;
        self.output.write_bytes(b"\n")
    }

    pub(crate) fn incident(&mut self, incident: &Incident, spec: &Spec) -> Result<(), Failure> {
        let text = match self.format {
            Format::Text => incident.text(self.style),
            Format::Ndjson | Format::Annotated => json!({"incident": incident}).to_string(),
            Format::Ocsf => ocsf::incident(incident, spec, Timestamp::now()).to_string(),
        };
        self.write(&text)
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.output.flush()
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.output.write_line(text)?;
        // At once: whoever reads the alerts acts on them.
        self.output.flush()
    }
}

/// Whether the person at the terminal has not said otherwise (<https://no-color.org>), and the terminal knows colours.
fn color_is_wanted() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|terminal| terminal != "dumb")
}
