//! Which bytes of a text are in strings, block by block, and whether what is escaped in them may be.

use super::block::Quotes;
use super::escapes::Escapes;

/// What is known of strings at the end of a block.
#[derive(Default)]
pub(crate) struct Strings {
    /// All ones inside of one.
    inside: u64,
    escapes: Escapes,
    /// 1 if an escape was in the string that goes on.
    has_escapes: u64,
    /// Any bit: one of them is not as it should be.
    wrong: u64,
}

/// The strings of a block, as bits.
pub(crate) struct Found {
    /// The quotes around them.
    pub(crate) quotes: u64,
    /// Their bytes, the opening quote with them and the closing one not.
    pub(crate) inside: u64,
    /// Which closing quotes are of strings with escapes.
    pub(crate) escapes: u64,
}

impl Found {
    /// Whether the block is inside of a string, and has nothing else.
    #[expect(clippy::inline_always, reason = "only inside of its caller is it compiled for the processor that runs it")]
    #[inline(always)]
    pub(crate) fn is_one_string(&self) -> bool {
        self.quotes | !self.inside == 0
    }
}

impl Strings {
    /// Whether all strings of the text were strings, but for control characters, and have ended with it.
    pub(crate) fn are_right(&self) -> bool {
        self.wrong | self.inside == 0
    }

    /// The strings of the next block, which begins at `base`.
    #[expect(clippy::inline_always, reason = "only inside of its caller is it compiled for the processor that runs it")]
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
            // Added up, an escape carries through the rest of its string to its end.
            let inner = inside & !quotes;
            let (sum, first) = inner.overflowing_add(escaped & inner);
            let (sum, second) = sum.overflowing_add(self.has_escapes);
            with_escapes = sum & quotes & !inside;
            self.has_escapes = u64::from(first | second);
        }
        Found { quotes, inside, escapes: with_escapes }
    }
}

/// For each bit, whether an odd number of the bits up to it are set.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
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
