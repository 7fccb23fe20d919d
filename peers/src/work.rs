//! The records that are judged, and the events that they are normalized to for engines that know no normalization.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use portcullis_event::{Buffers, Outcome, normalize};

use crate::records;

/// Records, each of them a Kubernetes audit event.
pub(crate) struct Work {
    /// As a cloud writes them.
    pub raw: Lines,
    /// As [`portcullis_event::Event`] writes itself as JSON.
    pub normalized: Lines,
}

/// Many texts, one behind the other in one piece of memory. Each by itself would leave the heap in crumbs, on which
/// engines that allocate much would be slow, for no fault of theirs.
#[derive(Default)]
pub(crate) struct Lines {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Lines {
    fn push(&mut self, line: &str) {
        self.text += line;
        self.ends.push(self.text.len());
    }

    /// So many from there on, or fewer at the end.
    pub(crate) fn some(&self, from: usize, count: usize) -> Vec<&str> {
        let mut begin = if from == 0 { 0 } else { self.ends[from - 1] };
        let ends = self.ends[from..].iter().take(count);
        ends.map(|end| &self.text[std::mem::replace(&mut begin, *end)..*end]).collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<&str> {
        self.some(0, self.ends.len())
    }
}

impl Work {
    /// Records as the benchmarks have them.
    pub(crate) fn made_up(seed: u64, count: usize) -> Result<Self> {
        let work = Self::of(records::records(seed, count))?;
        ensure!(
            work.len() == count,
            "some of the made-up records are no audit events: mend {}",
            "host/benches/support"
        );
        Ok(work)
    }

    /// The records of the project's parity tests that are evaluated.
    pub(crate) fn of_corpus(file: &Path) -> Result<Self> {
        let text = fs::read(file).with_context(|| format!("cannot read the parity records, {}", file.display()))?;
        Self::of(text.split(|byte| *byte == b'\n').filter_map(|line| String::from_utf8(line.to_vec()).ok()))
    }

    /// Those that become events.
    fn of(records: impl Iterator<Item = String>) -> Result<Self> {
        let mut work = Self { raw: Lines::default(), normalized: Lines::default() };
        for record in records {
            let mut buffers = Buffers::default();
            if let Outcome::Evaluated(event) = normalize(record.as_bytes(), &mut buffers) {
                work.normalized.push(&serde_json::to_string(&event).context("an event cannot be written as JSON")?);
                work.raw.push(&record);
            }
        }
        Ok(work)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.raw.ends.len()
    }
}
