//! What a log knows of its lines, so that it writes each once although its record comes again.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use portcullis::alert::id_of;
use serde_json::Value;

use super::recent::Recent;

/// The number of ids that are kept. An API server repeats a batch within minutes.
const IDS: usize = 1 << 18;

/// The number of batches that are kept. Only those that were in flight when a process died come again.
const BATCHES: usize = 1 << 12;

/// The number of batches that may be in flight at once, more or less.
const IN_FLIGHT: usize = 1 << 10;

/// The id of an alert, or of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LineId(u128);

impl LineId {
    /// Returns the id with these 32 hexadecimal digits.
    pub(crate) fn of(text: &str) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }

    /// Returns the id of an alert or a finding.
    pub(crate) fn in_json(alert: &Value) -> Option<Self> {
        [&alert["alert_id"], &alert["finding_info"]["uid"]].into_iter().find_map(|id| Self::of(id.as_str()?))
    }

    /// Returns the id of these bytes.
    fn of_bytes(bytes: &[u8]) -> Self {
        Self::of(&id_of(&[bytes])).expect("an id is 32 hexadecimal digits")
    }
}

impl fmt::Display for LineId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// How a log recognizes a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// By the id of its alert.
    #[default]
    Alert,
    /// By its batch and its position among the lines of the batch.
    Batch,
    /// By its batch as well. Without a batch, by its content. And if a batch is refused, by the content of its lines:
    /// the batch comes again under another id.
    DeadLetter,
}

/// What a log knows of its last lines.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) repeats: Repeats,
    /// The number of the next line.
    pub(crate) next: u64,
    ids: Recent<LineId, ()>,
    /// The number of lines of each batch.
    batches: Recent<Arc<str>, usize>,
    /// The lines of batches that are neither stored completely nor refused.
    unsettled: HashMap<Arc<str>, Vec<LineId>>,
    /// The number of lines with each content that refused batches have left.
    refused: Recent<LineId, usize>,
}

impl Known {
    /// Knows nothing yet.
    pub(crate) fn new(repeats: Repeats) -> Self {
        Self { repeats, ..Self::default() }
    }

    /// Adds a line of the file.
    pub(super) fn note(&mut self, line: &Value, content: impl FnOnce() -> LineId) {
        if let Some(n) = line["n"].as_u64() {
            self.next = n + 1;
        }
        match self.repeats {
            Repeats::Alert => drop(LineId::in_json(line).map(|id| self.add(id))),
            Repeats::Batch | Repeats::DeadLetter => match line["batch"].as_str() {
                Some(batch) => {
                    let (batch, lines) = (Arc::from(batch), self.lines_of(batch));
                    if self.repeats == Repeats::DeadLetter {
                        self.add_unsettled(&batch, content());
                    }
                    self.set_lines_of(batch, lines + 1);
                }
                None if self.repeats == Repeats::DeadLetter => drop(self.add(content())),
                None => {}
            },
        }
    }

    /// Settles the batches of the dead letters that were found when the file was opened. A batch of which the ledger
    /// has no line was refused, if it is not older than the lines that are known of the ledger.
    pub(crate) fn settle_all(&mut self, ledger: &Self) {
        let mut known: Vec<(u64, u64)> = ledger.batches.values.keys().filter_map(|batch| order(batch)).collect();
        known.sort_unstable();
        // Batches end in another order than they begin. So of many, the first ones do not tell what is missing.
        let first = known.get(if known.len() > IN_FLIGHT { IN_FLIGHT } else { 0 });
        for (batch, ids) in std::mem::take(&mut self.unsettled) {
            let is_recent = order(&batch).zip(first).is_some_and(|(batch, first)| batch >= *first);
            if is_recent && ledger.lines_of(&batch) == 0 {
                self.add_all_refused(ids);
            }
        }
    }

    /// Notes a line of a batch that may still be refused.
    pub(super) fn add_unsettled(&mut self, batch: &Arc<str>, id: LineId) {
        self.unsettled.entry(Arc::clone(batch)).or_default().push(id);
    }

    /// Returns the number of lines of a batch that may still be refused.
    pub(super) fn unsettled_of(&self, batch: &str) -> usize {
        self.unsettled.get(batch).map_or(0, Vec::len)
    }

    /// Keeps the first ones of the lines of a batch that may still be refused. The others were not written.
    pub(super) fn cut_unsettled(&mut self, batch: &str, first: usize) {
        if let Some(ids) = self.unsettled.get_mut(batch) {
            ids.truncate(first);
        }
    }

    /// Notes that a batch is stored, or that it is refused.
    pub(super) fn settle(&mut self, batch: &Arc<str>, is_stored: bool) {
        let ids = self.unsettled.remove(batch).unwrap_or_default();
        if !is_stored {
            // A batch of a stream comes again under the same id.
            self.batches.remove(batch);
            self.add_all_refused(ids);
        }
    }

    /// Adds lines that a refused batch has left.
    pub(super) fn add_all_refused(&mut self, ids: Vec<LineId>) {
        for id in ids {
            let count = self.refused.values.get(&id).copied().unwrap_or(0);
            self.refused.set(id, count + 1, IDS);
        }
    }

    /// Takes a line that a refused batch has left. Returns whether there is one.
    pub(super) fn take_refused(&mut self, id: &LineId) -> bool {
        match self.refused.values.get_mut(id) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => self.refused.remove(id),
            None => return false,
        }
        true
    }

    /// Adds an id. Returns whether it is new.
    pub(crate) fn add(&mut self, id: LineId) -> bool {
        self.ids.set(id, (), IDS).is_none()
    }

    /// Removes an id whose line was not written after all.
    pub(crate) fn forget(&mut self, id: &LineId) {
        self.ids.remove(id);
    }

    /// Returns the number of lines of a batch that are written.
    pub(crate) fn lines_of(&self, batch: &str) -> usize {
        self.batches.values.get(batch).copied().unwrap_or(0)
    }

    pub(crate) fn set_lines_of(&mut self, batch: Arc<str>, lines: usize) {
        if lines == 0 {
            self.batches.remove(&batch);
        } else {
            self.batches.set(batch, lines, BATCHES);
        }
    }
}

/// Returns the start of the process that gave a batch its id, and the batch's number in it. See `BatchIds` in `ingest`.
fn order(batch: &str) -> Option<(u64, u64)> {
    let (process, number) = batch.rsplit_once('-')?;
    let (_, start) = process.rsplit_once('-')?;
    Some((u64::from_str_radix(start, 16).ok()?, number.parse().ok()?))
}

/// Returns the id of a line's content: the line without its number and its batch, which differ when it comes again.
pub(super) fn content(line: &[u8]) -> LineId {
    let without = |line, name: &[u8]| -> &[u8] {
        let line: &[u8] = line;
        if !line.starts_with(name) {
            return line;
        }
        // Neither a number nor a batch's id contains a comma.
        memchr::memchr(b',', line).map_or(line, |comma| &line[comma + 1..])
    };
    LineId::of_bytes(without(without(line, b"{\"n\":"), b"\"batch\":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_differs_only_in_what_a_line_says() {
        let first = content(br#"{"n":1,"batch":"a-1","reason":"cut off"}"#);
        assert_eq!(first, content(br#"{"n":25,"batch":"b-2","reason":"cut off"}"#));
        assert_eq!(first, content(br#"{"n":3,"reason":"cut off"}"#));
        assert_ne!(first, content(br#"{"n":1,"batch":"a-1","reason":"empty"}"#));
    }
}
