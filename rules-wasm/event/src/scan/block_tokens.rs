//! The tokens of 64 bytes, as bits.

use super::strings::Found;

/// The tokens of a block, as bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Block {
    /// Brackets, and both quotes of every string.
    pub(crate) tokens: u64,
    /// The closing quotes of strings with escapes in them.
    pub(crate) escapes: u64,
    /// The colons between names and values.
    pub(crate) colons: u64,
}

impl Block {
    #[expect(clippy::inline_always, reason = "only inside of its caller is it compiled for the processor that runs it")]
    #[inline(always)]
    pub(crate) fn new(brackets: u64, colons: u64, strings: &Found) -> Self {
        let Found { quotes, inside, escapes } = *strings;
        Self { tokens: (brackets & !inside) | quotes, escapes, colons: colons & !inside }
    }
}
