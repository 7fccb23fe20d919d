//! The tokens of a block of 64 bytes, one bit per byte.

use super::strings::Found;

/// The tokens of a block.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Block {
    /// Brackets, and both quotes of each string.
    pub(crate) tokens: u64,
    /// Closing quotes of strings that contain escapes.
    pub(crate) escapes: u64,
    /// Colons between names and values.
    pub(crate) colons: u64,
}

impl Block {
    #[expect(
        clippy::inline_always,
        reason = "SIMD code is compiled for the processor only where it is inlined into its caller"
    )]
    #[inline(always)]
    pub(crate) fn new(brackets: u64, colons: u64, strings: &Found) -> Self {
        let Found { quotes, inside, escapes } = *strings;
        Self { tokens: (brackets & !inside) | quotes, escapes, colons: colons & !inside }
    }
}
