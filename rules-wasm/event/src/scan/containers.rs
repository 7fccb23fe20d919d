//! The lists and objects of a JSON text: where each begins and ends.

/// Instead of a container's number: the outermost value is in no container.
pub(crate) const NONE: u32 = u32::MAX;

/// The lists and objects of a text.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    /// All of them, in the order in which they begin.
    pub(crate) all: Vec<Container>,
    /// The number of the innermost container that is still open; [`NONE`] outside of all containers.
    pub(crate) around: u32,
    /// Whether the innermost open container is an object.
    pub(crate) in_object: bool,
}

/// A list or an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Container {
    /// The place of its closing bracket. Until that is read: the number of the container around it.
    pub(crate) end: u32,
    /// Number of containers that begin before it ends. Until then: its opening bracket.
    pub(crate) behind: u32,
}

impl Containers {
    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.around = NONE;
        self.in_object = false;
    }

    /// Opens a container with this bracket.
    #[expect(
        clippy::inline_always,
        reason = "SIMD code is compiled for the processor only where it is inlined into its caller"
    )]
    #[inline(always)]
    pub(crate) fn open(&mut self, bracket: u8) {
        let number = short(self.all.len());
        self.all.push(Container { end: self.around, behind: u32::from(bracket) });
        self.around = number;
        self.in_object = bracket == b'{';
    }

    /// Closes the innermost container, and returns whether there is one that this bracket closes.
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

/// Shortens a place in a text, or a number of its parts. Both are at most the length of the text, which was checked.
#[inline]
pub(crate) fn short(number: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a text of 4 GiB or more is not read")]
    {
        number as u32
    }
}
