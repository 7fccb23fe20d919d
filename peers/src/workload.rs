//! The records that the engines judge, raw and as normalized events.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use portcullis_event::{Buffers, Outcome, normalize};

use crate::records;

/// Records, each of them a Kubernetes audit event.
pub(crate) struct Workload {
    /// The records as a cloud writes them.
    pub raw: Lines,
    /// The records as normalized events, in JSON.
    pub normalized: Lines,
}

/// Many texts in one allocation. An allocation for each text would fragment the heap, and slow down the engines that
/// allocate often.
#[derive(Default)]
pub(crate) struct Lines {
    text: String,
    /// Where each text ends.
    ends: Vec<usize>,
}

impl Lines {
    fn push(&mut self, line: &str) {
        self.text += line;
        self.ends.push(self.text.len());
    }

    /// Returns up to `count` texts, starting at `from`.
    pub(crate) fn slice(&self, from: usize, count: usize) -> Vec<&str> {
        let mut begin = if from == 0 { 0 } else { self.ends[from - 1] };
        let ends = self.ends[from..].iter().take(count);
        ends.map(|end| &self.text[std::mem::replace(&mut begin, *end)..*end]).collect()
    }

    /// Returns all texts.
    pub(crate) fn all(&self) -> Vec<&str> {
        self.slice(0, self.ends.len())
    }
}

impl Workload {
    /// Generates the records of the benchmarks.
    pub(crate) fn generated(seed: u64, count: usize) -> Result<Self> {
        let workload = Self::from_records(records::records(seed, count))?;
        ensure!(
            workload.len() == count,
            "only {} of {count} generated records are audit events: fix the generator in host/cli/benches/support",
            workload.len()
        );
        Ok(workload)
    }

    /// Reads those records of the project's parity tests that are evaluated.
    pub(crate) fn from_corpus(file: &Path) -> Result<Self> {
        let text = fs::read(file).with_context(|| format!("cannot read the parity records, {}", file.display()))?;
        Self::from_records(text.split(|byte| *byte == b'\n').filter_map(|line| String::from_utf8(line.to_vec()).ok()))
    }

    /// Keeps the records that become events.
    fn from_records(records: impl Iterator<Item = String>) -> Result<Self> {
        let mut workload = Self { raw: Lines::default(), normalized: Lines::default() };
        for record in records {
            let mut buffers = Buffers::default();
            if let Outcome::Evaluated(event) = normalize(record.as_bytes(), &mut buffers) {
                workload.normalized.push(&serde_json::to_string(&event).context("cannot write an event as JSON")?);
                workload.raw.push(&record);
            }
        }
        Ok(workload)
    }

    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.raw.ends.len()
    }
}
