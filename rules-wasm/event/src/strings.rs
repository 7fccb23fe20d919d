//! Which bytes of a text are in strings, block by block, and whether the strings are as they should be.

use crate::block::{BLOCK, Masks, masks};
use crate::escape::Escapes;

/// What is known of strings at the end of a block.
#[derive(Default)]
pub(crate) struct Strings {
    /// All ones inside of one.
    inside: u64,
    escapes: Escapes,
    /// 1 if an escape was in the string that goes on.
    has_escapes: u64,
    /// One of them is not as it should be.
    is_wrong: bool,
}

impl Strings {
    /// Whether all strings of the text were strings, and have ended with it.
    pub(crate) fn are_right(&self) -> bool {
        !self.is_wrong && self.inside == 0
    }

    /// The tokens of a block as bits, quotes and brackets; and which of them close strings with escapes.
    #[inline]
    pub(crate) fn tokens(&mut self, block: &[u8; BLOCK], text: &[u8], base: usize) -> (u64, u64) {
        let Masks { mut quotes, backslashes, brackets, controls } = masks(block);
        let escaped = self.escapes.escaped(backslashes);
        let mut others = escaped & !quotes & !backslashes;
        quotes &= !escaped;
        let inside = odd_below(quotes) ^ self.inside;
        self.inside = if inside >> 63 == 1 { u64::MAX } else { 0 };
        let mut closing_escaped = 0;
        if escaped | self.has_escapes != 0 {
            while others != 0 {
                self.is_wrong |= !is_escape(text, base + others.trailing_zeros() as usize);
                others &= others - 1;
            }
            // Added up, an escape carries through the rest of its string to its end.
            let inner = inside & !quotes;
            let (sum, first) = inner.overflowing_add(escaped & inner);
            let (sum, second) = sum.overflowing_add(self.has_escapes);
            closing_escaped = sum & quotes & !inside;
            self.has_escapes = u64::from(first | second);
        }
        self.is_wrong |= controls & inside != 0;
        ((brackets & !inside) | quotes, closing_escaped)
    }
}

/// For each bit, whether an odd number of the bits up to it are set.
#[inline]
fn odd_below(bits: u64) -> u64 {
    [1, 2, 4, 8, 16, 32].into_iter().fold(bits, |sum, shift| sum ^ (sum << shift))
}

/// Whether a byte that is no quote and no backslash may be escaped, with what belongs to it.
fn is_escape(text: &[u8], at: usize) -> bool {
    match text.get(at) {
        Some(b'/' | b'b' | b'f' | b'n' | b'r' | b't') => true,
        Some(b'u') => text.get(at + 1..at + 5).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
        _ => false,
    }
}
