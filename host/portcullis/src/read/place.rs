//! Positions of records in inputs.

use std::fmt;

use portcullis_event::envelope::Path;

use super::documents::Item;

/// The position of a record: `12` for a line, `12:40` for a byte of a line, followed by the path through its envelopes,
/// as in `1 logEvents[3].message`.
#[derive(Clone, Copy, Debug)]
pub struct Place<'p>(Part<'p>);

#[derive(Clone, Copy, Debug)]
enum Part<'p> {
    Position { line: u64, column: u64 },
    Item(&'p Place<'p>, Item),
    Inside(&'p Place<'p>, &'p Path<'p>),
}

impl<'p> Place<'p> {
    pub(super) fn position(line: u64, column: u64) -> Self {
        Self(Part::Position { line, column })
    }

    /// Returns the place of a document inside this one, at this line and column in it.
    pub(super) fn offset_by(self, line: u64, column: u64) -> Self {
        match self.0 {
            Part::Position { line: first, column: start } => {
                let column = if line == 1 { start + column - 1 } else { column };
                Self::position(first + line - 1, column)
            }
            Part::Item(..) | Part::Inside(..) => self,
        }
    }

    /// Returns whether it is inside a list that was split into documents. A list in a document that was read as a whole
    /// does not count.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        match self.0 {
            Part::Position { .. } => false,
            Part::Item(..) => true,
            Part::Inside(around, _) => around.is_inside(),
        }
    }

    pub(super) fn item(&'p self, item: Item) -> Self {
        Self(Part::Item(self, item))
    }

    /// Returns the place at the end of a path from here.
    pub(super) fn inside(&'p self, path: &'p Path<'p>) -> Self {
        if path.is_empty() { *self } else { Self(Part::Inside(self, path)) }
    }

    /// Returns the text between this place and a place inside it.
    fn separator(&self, is_item: bool) -> &'static str {
        match self.0 {
            Part::Position { .. } => " ",
            _ if is_item => "",
            _ => ".",
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Part::Position { line, column: 1 } => write!(formatter, "{line}"),
            Part::Position { line, column } => write!(formatter, "{line}:{column}"),
            Part::Item(around, Item { list, index, .. }) => {
                let list = list.unwrap_or_default();
                write!(formatter, "{around}{}{list}[{index}]", around.separator(list.is_empty()))
            }
            Part::Inside(around, path) => {
                write!(formatter, "{around}{}{path}", around.separator(path.begins_with_item()))
            }
        }
    }
}
