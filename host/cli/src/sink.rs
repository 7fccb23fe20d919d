//! The output of alerts, and its formats.

use std::collections::HashSet;
use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::Timestamp;
use portcullis::alert::{Text, TextStyle};
use portcullis::incidents::Incident;
use portcullis::package::Spec;
use portcullis::{Alert, ocsf};
use serde_json::json;

use crate::failure::{Exit, Failure, OrExit};
use crate::output::Output;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Human-readable text
    Text,
    /// One JSON object a line
    Ndjson,
    /// One OCSF Detection Finding (class 2004) a line
    Ocsf,
    /// Each line of the input again, in order, for use as a filter. A line with alerts gets one more member in its
    /// object: "portcullis":{"verdict":"alert","alerts":[…]}. If the line is not an object, it becomes one, with its
    /// text as "message". A value must not span lines, and a line is cut at 64 MiB
    Annotated,
}

/// Writes alerts, lines with alerts, and incidents that are over.
pub(crate) struct Sink {
    format: Format,
    style: TextStyle,
    /// The tenant, id and version of each rule whose description has been written: once is enough.
    described: HashSet<String>,
    output: Output,
    on_terminal: bool,
}

impl Sink {
    /// Opens a file, or standard output. The style says what a text contains.
    pub(crate) fn open(file: Option<&Path>, format: Option<Format>, style: TextStyle) -> Result<Self, Failure> {
        let on_terminal = file.is_none() && std::io::stdout().is_terminal();
        let default = if on_terminal { Format::Text } else { Format::Ndjson };
        Ok(Self {
            format: format.unwrap_or(default),
            style: TextStyle { color: on_terminal && color_is_wanted(), ..style },
            described: HashSet::new(),
            output: file.map_or_else(|| Ok(Output::standard()), Output::create)?,
            on_terminal,
        })
    }

    /// Returns whether it writes to a terminal.
    pub(crate) fn on_terminal(&self) -> bool {
        self.on_terminal
    }

    pub(crate) fn alert(&mut self, alert: &Alert, spec: &Spec) -> Result<(), Failure> {
        let text = match self.format {
            Format::Text => alert.text(self.style) + &self.description(alert, spec),
            Format::Ndjson => {
                serde_json::to_string(alert).context("cannot write an alert as JSON").or_exit(Exit::Io)?
            }
            Format::Ocsf => ocsf::finding(alert, spec, Timestamp::now()).to_string(),
            // The alert is in its line.
            Format::Annotated => return Ok(()),
        };
        self.write(&text)
    }

    /// Returns why a rule's alerts matter, for its first alert.
    fn description(&mut self, alert: &Alert, spec: &Spec) -> String {
        let mut text = Text::new(self.style);
        if let Some(description) = spec.description.as_ref()
            && self.described.insert(format!("{}\n{}\n{}", alert.tenant, alert.about.rule_id, alert.about.rule_version))
        {
            text.prose("why", description);
        }
        text.into_string()
    }

    /// Writes a line of the input with its alerts. It is passed on with the next flush.
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
        // With details, a blank line separates alerts.
        self.output.write_bytes(text.as_bytes())?;
        if self.format != Format::Text || self.style.details {
            self.output.write_bytes(b"\n")?;
        }
        // An alert must not wait in a buffer.
        self.output.flush()
    }
}

/// Returns whether the terminal shows colours and `NO_COLOR` (<https://no-color.org>) is not set.
fn color_is_wanted() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|terminal| terminal != "dumb")
}
