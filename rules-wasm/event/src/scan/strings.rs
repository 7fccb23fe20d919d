//! Finds the bytes inside strings, block by block, and validates the escapes in them.

use super::block::Quotes;
use super::escapes::Escapes;

/// The state between two blocks.
#[derive(Default)]
pub(crate) struct Strings {
    /// All ones if the next block begins inside a string.
    inside: u64,
    escapes: Escapes,
    /// 1 if the string that continues in the next block contains an escape.
    has_escapes: u64,
    /// Not zero if an escape is invalid.
    wrong: u64,
}

/// The strings of a block, one bit per byte.
pub(crate) struct Found {
    /// Quotes that delimit strings.
    pub(crate) quotes: u64,
    /// Bytes inside strings, including the opening quote and without the closing one.
    pub(crate) inside: u64,
    /// Closing quotes of strings that contain escapes.
    pub(crate) escapes: u64,
}

impl Found {
    /// Whether the whole block is inside one string.
    #[expect(
        clippy::inline_always,
        reason = "SIMD code is compiled for the processor only where it is inlined into its caller"
    )]
    #[inline(always)]
    pub(crate) fn is_one_string(&self) -> bool {
        self.quotes | !self.inside == 0
    }
}

impl Strings {
    /// Whether all strings of the text are closed and their escapes valid. Control characters are not checked here.
    pub(crate) fn are_right(&self) -> bool {
        self.wrong | self.inside == 0
    }

    /// Finds the strings of the next block, which begins at `base`.
    #[expect(
        clippy::inline_always,
        reason = "SIMD code is compiled for the processor only where it is inlined into its caller"
    )]
    #[inline(always)]
    pub(crate) fn find(&mut self, marks: Quotes, text: &[u8], base: usize) -> Found {
        let Quotes { mut quotes, backslashes } = marks;
        let escaped = self.escapes.escaped(backslashes);
        let mut others = escaped & !quotes & !backslashes;
        quotes &= !escaped;
        let inside = odd_below(quotes) ^ self.inside;
        self.inside = (inside >> 63).wrapping_neg();
        let mut with_escapes = 0;
        if escaped | self.has_escapes != 0 {
            while others != 0 {
                self.wrong |= u64::from(!is_escape(text, base + others.trailing_zeros() as usize));
                others &= others - 1;
            }
            // The carry of the addition moves from an escape through the rest of its string to its end.
            let inner = inside & !quotes;
            let (sum, first) = inner.overflowing_add(escaped & inner);
            let (sum, second) = sum.overflowing_add(self.has_escapes);
            with_escapes = sum & quotes & !inside;
            self.has_escapes = u64::from(first | second);
        }
        Found { quotes, inside, escapes: with_escapes }
    }
}

/// For each bit: whether the number of set bits up to it is odd.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn odd_below(bits: u64) -> u64 {
    [1, 2, 4, 8, 16, 32].into_iter().fold(bits, |sum, shift| sum ^ (sum << shift))
}

/// Whether an escape is valid, given the byte after its backslash, which is neither a quote nor a backslash.
pub(crate) fn is_escape(text: &[u8], at: usize) -> bool {
    match text.get(at) {
        Some(b'/' | b'b' | b'f' | b'n' | b'r' | b't') => true,
        Some(b'u') => text.get(at + 1..at + 5).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
        _ => false,
    }
}
