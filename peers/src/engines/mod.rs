//! The engines that are compared: Portcullis, three peers that are crates, and Panther's.

mod cel;
mod panther;
mod portcullis;
mod regorus;
mod sigma;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::verdicts::Verdicts;
use crate::versions::locked;
use crate::work::{Lines, Work};

/// What people call the one that the others are held against.
pub(crate) const PORTCULLIS: &str = "Portcullis";

/// Something that judges records with the two rules.
pub(crate) trait Engine {
    /// Judges these records.
    fn turn(&mut self, records: &[&str]) -> Result<Turn>;
}

/// What came of it.
pub(crate) struct Turn {
    pub time: Duration,
    /// For each record.
    pub verdicts: Vec<Verdicts>,
}

/// An engine that is called from here for one record after the other.
trait OneByOne {
    /// What both rules say about a record.
    fn judge(&mut self, record: &str) -> Result<Verdicts>;
}

impl<E: OneByOne> Engine for E {
    fn turn(&mut self, records: &[&str]) -> Result<Turn> {
        let mut verdicts = Vec::with_capacity(records.len());
        let begun = Instant::now();
        for record in records {
            verdicts.push(self.judge(record).with_context(|| format!("cannot judge this record: {record}"))?);
        }
        Ok(Turn { time: begun.elapsed(), verdicts })
    }
}

/// What an engine gets to judge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// The record as a cloud writes it.
    Raw,
    /// The normalized event as JSON.
    Normalized,
}

impl Given {
    /// This form of the records.
    pub(crate) fn of(self, work: &Work) -> &Lines {
        match self {
            Self::Raw => &work.raw,
            Self::Normalized => &work.normalized,
        }
    }
}

/// One of those that are compared.
pub(crate) struct Contestant {
    /// What people call it.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// What it gets.
    pub given: Given,
    /// The engine itself.
    pub engine: Box<dyn Engine>,
}

impl Contestant {
    fn new(name: &'static str, version: String, given: Given, engine: impl Engine + 'static) -> Self {
        Self { name, version, given, engine: Box::new(engine) }
    }
}

/// Portcullis, and the peers that read the same normalized event: they agree on whatever record there is.
pub(crate) fn native() -> Result<Vec<Contestant>> {
    use Given::{Normalized, Raw};
    Ok(vec![
        Contestant::new(PORTCULLIS, locked("portcullis")?, Raw, portcullis::Portcullis::new()?),
        Contestant::new("cel (CEL)", locked("cel")?, Normalized, cel::Cel::new()?),
        Contestant::new("rsigma-eval (Sigma)", locked("rsigma-eval")?, Normalized, sigma::Sigma::new()?),
        Contestant::new("regorus (Rego)", locked("regorus")?, Normalized, regorus::Regorus::new()?),
    ])
}

/// Panther's engine, with both kinds of data models. Of odd records it says something else, on purpose: the README of the
/// project has the list.
pub(crate) fn panther() -> Result<[Contestant; 2]> {
    let with = |name, kind| {
        let (engine, version) = panther::Panther::start(kind)?;
        Ok::<_, anyhow::Error>(Contestant::new(name, version, Given::Raw, engine))
    };
    Ok([with("panther_core, functions", "functions")?, with("panther_core, JSON paths", "paths")?])
}
