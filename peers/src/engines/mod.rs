//! The compared engines: Portcullis, five crates, and Panther's engine.

mod cel;
mod jaq;
mod panther;
mod portcullis;
mod regorus;
mod sigma;
mod vrl;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::verdicts::Verdicts;
use crate::versions::locked;
use crate::workload::{Lines, Workload};

/// Display name of Portcullis, with which the other engines are compared.
pub(crate) const PORTCULLIS: &str = "Portcullis";

/// An engine that judges records with the two rules.
pub(crate) trait Engine {
    /// Judges these records, and measures the time.
    fn judge_all(&mut self, records: &[&str]) -> Result<Judged>;
}

/// The verdicts on some records, and the time that they took.
pub(crate) struct Judged {
    pub time: Duration,
    /// One for each record.
    pub verdicts: Vec<Verdicts>,
}

/// An engine in this process that takes one record per call.
trait PerRecord {
    /// Returns the verdicts of both rules on a record.
    fn judge(&mut self, record: &str) -> Result<Verdicts>;
}

impl<E: PerRecord> Engine for E {
    fn judge_all(&mut self, records: &[&str]) -> Result<Judged> {
        let mut verdicts = Vec::with_capacity(records.len());
        let begun = Instant::now();
        for record in records {
            verdicts.push(self.judge(record).with_context(|| format!("cannot judge this record: {record}"))?);
        }
        Ok(Judged { time: begun.elapsed(), verdicts })
    }
}

/// The form of the records that an engine reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// The record as a cloud writes it.
    Raw,
    /// The normalized event as JSON.
    Normalized,
}

impl Input {
    /// Returns the records in this form.
    pub(crate) fn of(self, workload: &Workload) -> &Lines {
        match self {
            Self::Raw => &workload.raw,
            Self::Normalized => &workload.normalized,
        }
    }
}

/// One engine in the comparison.
pub(crate) struct Entry {
    /// The display name.
    pub name: &'static str,
    /// The engine's version.
    pub version: String,
    /// The form of the records that it reads.
    pub input: Input,
    /// The engine itself.
    pub engine: Box<dyn Engine>,
}

impl Entry {
    fn new(name: &'static str, version: String, input: Input, engine: impl Engine + 'static) -> Self {
        Self { name, version, input, engine: Box::new(engine) }
    }
}

/// Returns Portcullis and the engines that read normalized events. They agree on every record.
pub(crate) fn native() -> Result<Vec<Entry>> {
    use Input::{Normalized, Raw};
    Ok(vec![
        Entry::new(PORTCULLIS, locked("portcullis")?, Raw, portcullis::Portcullis::new()?),
        Entry::new("cel (CEL)", locked("cel")?, Normalized, cel::Cel::new()?),
        Entry::new("rsigma-eval (Sigma)", locked("rsigma-eval")?, Normalized, sigma::Sigma::new()?),
        Entry::new("regorus (Rego)", locked("regorus")?, Normalized, regorus::Regorus::new()?),
        Entry::new("vrl (Vector's VRL)", locked("vrl")?, Normalized, vrl::Vrl::new()?),
        Entry::new("jaq-core (jq)", locked("jaq-core")?, Normalized, jaq::Jaq::new()?),
    ])
}

/// Returns Panther's engine with both kinds of data models. Its verdicts differ on unusual records, on purpose: the
/// project's README has the list.
pub(crate) fn panther() -> Result<[Entry; 2]> {
    let with = |name, kind| {
        let (engine, version) = panther::Panther::start(kind)?;
        Ok::<_, anyhow::Error>(Entry::new(name, version, Input::Raw, engine))
    };
    Ok([with("panther_core, functions", "functions")?, with("panther_core, JSON paths", "paths")?])
}
