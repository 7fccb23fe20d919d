//! Where a search reports the records that it finds.

use super::path::Path;
use super::seen::Seen;
use crate::event::LogType;
use crate::json::Value;
use crate::record::{Buffers, Ignored, Outcome, Rejected, normalize_as, normalize_value, of_cut};

/// Buffers of a text of this many bytes are not kept: the records in it are read into new ones.
const LONG: usize = 1 << 20;

/// Called with each record: its bytes, the path to it, and its outcome.
pub type Each<'f, E> = &'f mut dyn FnMut(&[u8], &Path<'_>, Outcome<'_>) -> Result<(), E>;

/// The output of one search.
pub(super) struct Output<'f, E> {
    each: Each<'f, E>,
    buffers: Buffers,
    pub(super) seen: Seen,
}

/// Where a value is: the path to it, and the lists around it.
pub(super) struct Place<'a, E> {
    pub(super) path: &'a Path<'a>,
    pub(super) lists: Option<&'a dyn Flush<E>>,
}

impl<E> Clone for Place<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Place<'_, E> {}

/// A list that holds back items until a record is found in it.
pub(super) trait Flush<E> {
    /// Reports the items before the current one that are not records.
    fn flush(&self, output: &mut Output<'_, E>) -> Result<(), E>;
}

impl<'f, E> Output<'f, E> {
    pub(super) fn new(each: Each<'f, E>) -> Self {
        Self { each, buffers: Buffers::default(), seen: Seen::default() }
    }

    /// Reports a text that is not JSON if it is a record, and returns whether it is one. `known` is what the list around
    /// it says that its items are.
    pub(super) fn broken_record(&mut self, text: &str, known: Option<LogType>, place: Place<'_, E>) -> Result<bool, E> {
        let mut buffers = std::mem::take(&mut self.buffers);
        let outcome = of_cut(text, known, &mut buffers);
        let is_record = self.record(text, outcome, false, place);
        self.keep(buffers, text);
        is_record
    }

    /// Reports an object if it is a record, and returns whether it is one. `known` is what the list around it says that
    /// its items are, and `cut` where the text around it was closed, if its end was missing.
    pub(super) fn object_record(
        &mut self,
        object: Value<'_, '_>,
        known: Option<LogType>,
        cut: Option<usize>,
        place: Place<'_, E>,
    ) -> Result<bool, E> {
        let mut buffers = std::mem::take(&mut self.buffers);
        let text = object.raw().get();
        let was_cut = cut.is_some_and(|cut| object.ends_behind(cut));
        let outcome = normalize_value(object, known, &mut buffers);
        let is_record = self.record(text, Some(outcome), was_cut, place);
        self.keep(buffers, text);
        is_record
    }

    /// Reports a text with this outcome if that makes it a record. `was_cut` says that it was closed where its end is
    /// missing.
    fn record(
        &mut self,
        text: &str,
        outcome: Option<Outcome<'_>>,
        was_cut: bool,
        place: Place<'_, E>,
    ) -> Result<bool, E> {
        match outcome {
            Some(Outcome::Evaluated(mut event)) => {
                if was_cut {
                    event.note_cut_off();
                }
                self.report(text, Outcome::Evaluated(event), place).map(|()| true)
            }
            Some(
                outcome @ (Outcome::Ignored(
                    Ignored::LogType(_) | Ignored::Category(_) | Ignored::Service(_) | Ignored::Other(_),
                )
                | Outcome::Rejected(Rejected::NoAuditEvent(_))),
            ) => self.report(text, outcome, place).map(|()| true),
            Some(Outcome::Ignored(_) | Outcome::Rejected(_)) | None => Ok(false),
        }
    }

    /// Reports a record, unless an earlier member of an object around it holds it too.
    pub(super) fn report(&mut self, record: &str, outcome: Outcome<'_>, place: Place<'_, E>) -> Result<(), E> {
        if !self.seen.insert(&outcome) {
            return Ok(());
        }
        if let Some(lists) = place.lists {
            lists.flush(self)?;
        }
        (self.each)(record.as_bytes(), place.path, outcome)
    }

    /// Reports a text that is no record, with the outcome that says why.
    pub(super) fn no_record(&mut self, text: &str, path: &Path<'_>) -> Result<(), E> {
        let mut buffers = std::mem::take(&mut self.buffers);
        let result = (self.each)(text.as_bytes(), path, normalize_as(text.as_bytes(), None, &mut buffers));
        self.keep(buffers, text);
        result
    }

    /// Reports a document whose search was given up.
    pub(super) fn tangled(&mut self, document: &str) -> Result<(), E> {
        (self.each)(document.as_bytes(), &Path::ROOT, Outcome::Rejected(Rejected::Tangled))
    }

    fn keep(&mut self, buffers: Buffers, text: &str) {
        self.buffers = if text.len() < LONG { buffers } else { Buffers::default() };
    }
}
