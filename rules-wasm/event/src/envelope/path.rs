//! The way from a document to a record in it.

use std::fmt;

/// The names and numbers on the way from a document to a record in it, as in `records[3].message`.
#[derive(Clone, Copy, Debug)]
pub struct Path<'p> {
    around: Option<&'p Path<'p>>,
    step: Step<'p>,
}

/// One step of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'p> {
    /// None: the document itself.
    None,
    Member(&'p str),
    Item(u64),
}

/// So many characters of a name are shown: whoever wrote it may have written anything.
const SHOWN: usize = 48;

impl Path<'static> {
    /// The way to the document itself.
    pub(super) const ROOT: Self = Self { around: None, step: Step::None };
}

impl<'p> Path<'p> {
    pub(super) fn step(&'p self, step: Step<'p>) -> Self {
        Self { around: Some(self), step }
    }

    /// Whether it leads nowhere: to the document itself.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.step, Step::None)
    }

    /// Whether it begins with a number.
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
