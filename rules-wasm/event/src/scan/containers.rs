//! The lists and objects of a JSON text: where each begins and ends.

/// No container: what is around the outermost value.
pub(crate) const NONE: u32 = u32::MAX;

/// The lists and objects of a text.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    /// They, by where they begin.
    pub(crate) all: Vec<Container>,
    /// The one that has been opened last of those that have not been closed; [`NONE`] outside of all.
    pub(crate) around: u32,
    /// Whether that is an object.
    pub(crate) in_object: bool,
}

/// A list or an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Container {
    /// Where its closing bracket is; while that has not been seen, the number of the container around it.
    pub(crate) end: u32,
    /// How many containers begin before it ends; until then, its opening bracket.
    pub(crate) behind: u32,
}

impl Containers {
    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.around = NONE;
        self.in_object = false;
    }

    /// Opens one with this bracket.
    #[expect(clippy::inline_always, reason = "only inside of its caller is it compiled for the processor that runs it")]
    #[inline(always)]
    pub(crate) fn open(&mut self, bracket: u8) {
        let number = short(self.all.len());
        self.all.push(Container { end: self.around, behind: u32::from(bracket) });
        self.around = number;
        self.in_object = bracket == b'{';
    }

    /// Closes the one around; whether there is one, and this is its bracket.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    pub(crate) fn close(&mut self, bracket: u8, at: usize) -> bool {
        let behind = short(self.all.len());
        let Some(container) = self.all.get_mut(self.around as usize) else { return false };
        let is_right = (bracket == b'}') == self.in_object;
        self.around = container.end;
        *container = Container { end: short(at), behind };
        self.in_object = self.all.get(self.around as usize).is_some_and(|around| around.behind == u32::from(b'{'));
        is_right
    }
}

/// A place in the text, or a number of what is in it: no more than the text's length, which has been looked at.
#[inline]
pub(crate) fn short(number: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "it is no more than what fits")]
    {
        number as u32
    }
}
