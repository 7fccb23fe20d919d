//! The path from a document to a record in it.

use std::fmt;

/// The path from a document to a record in it, such as `records[3].message`.
#[derive(Clone, Copy, Debug)]
pub struct Path<'p> {
    around: Option<&'p Path<'p>>,
    step: Step<'p>,
}

/// One step of a path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'p> {
    /// No step: the document itself.
    None,
    Member(&'p str),
    Item(u64),
}

/// Number of characters of a name that are shown. A client may choose names, and so their length.
const SHOWN: usize = 48;

impl Path<'static> {
    /// The path to the document itself.
    pub(super) const ROOT: Self = Self { around: None, step: Step::None };
}

impl<'p> Path<'p> {
    pub(super) fn step(&'p self, step: Step<'p>) -> Self {
        Self { around: Some(self), step }
    }

    /// Whether the path is that of the document itself.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.step, Step::None)
    }

    /// Whether the path begins with the index of an item.
    #[must_use]
    pub fn begins_with_item(&self) -> bool {
        match self.around.filter(|around| !around.is_empty()) {
            Some(around) => around.begins_with_item(),
            None => matches!(self.step, Step::Item(_)),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let around = self.around.filter(|around| !around.is_empty());
        if let Some(around) = around {
            around.fmt(formatter)?;
        }
        match self.step {
            Step::None => Ok(()),
            Step::Item(index) => write!(formatter, "[{index}]"),
            Step::Member(name) => {
                if around.is_some() {
                    formatter.write_str(".")?;
                }
                let plain = |c: char| if c.is_alphanumeric() || "_-@/$:".contains(c) { c } else { '\u{fffd}' };
                name.chars().take(SHOWN).try_for_each(|c| write!(formatter, "{}", plain(c)))
            }
        }
    }
}
