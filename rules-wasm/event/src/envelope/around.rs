//! What a search knows about the surroundings of a value.

use super::output::Place;
use super::path::Path;
use crate::event::LogType;

/// How many steps lead from a document to a record at most. Each step into a member, an item or a text counts.
/// OpenTelemetry's lists of lists of lists take eight.
pub const MAX_DEPTH: usize = 16;

/// The surroundings of a value.
pub(super) struct Around<'a, E> {
    pub(super) place: Place<'a, E>,
    /// What the list around the value says that its items are.
    pub(super) known: Option<LogType>,
    /// Number of steps that are left.
    pub(super) depth: usize,
    /// Where the text was closed, if its end is missing.
    pub(super) cut: Option<usize>,
}

impl<E> Clone for Around<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Around<'_, E> {}

impl<'a, E> Around<'a, E> {
    /// The surroundings of a document.
    pub(super) fn document() -> Self {
        let place = Place { path: &Path::ROOT, lists: None };
        Self { place, known: None, depth: MAX_DEPTH, cut: None }
    }

    /// One step into a member or an item.
    pub(super) fn at(self, path: &'a Path<'a>) -> Self {
        Self { place: Place { path, ..self.place }, known: None, ..self.deeper() }
    }

    /// One step into a text, which the path does not name.
    pub(super) fn deeper(self) -> Self {
        Self { depth: self.depth - 1, ..self }
    }
}
