//! Finds the characters that structure JSON in blocks of 64 bytes.

#[cfg(not(target_arch = "wasm32"))]
use fearless_simd::{Simd, prelude::*, u8x64};

/// Number of bytes that are read in one step.
pub(crate) const BLOCK: usize = 64;

/// Splits a text into its full blocks and a last one, which is filled up with white space.
pub(crate) fn blocks(text: &[u8]) -> (&[[u8; BLOCK]], [u8; BLOCK]) {
    let (blocks, rest) = text.as_chunks();
    let mut last = [b' '; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    (blocks, last)
}

/// The characters that delimit strings, one bit per byte.
#[derive(Clone, Copy)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) struct Quotes {
    pub(crate) quotes: u64,
    pub(crate) backslashes: u64,
}

/// The characters between strings, one bit per byte. Inside strings they have no meaning.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    /// Opening brackets and braces.
    pub(crate) opening: u64,
    /// Closing brackets and braces.
    pub(crate) closing: u64,
    pub(crate) colons: u64,
    pub(crate) commas: u64,
}

#[cfg(not(target_arch = "wasm32"))]
#[expect(
    clippy::inline_always,
    reason = "SIMD code is compiled for the processor only where it is inlined into its caller"
)]
#[inline(always)]
pub(crate) fn quotes<S: Simd>(bytes: u8x64<S>) -> Quotes {
    Quotes { quotes: bytes.simd_eq(b'"').to_bitmask(), backslashes: bytes.simd_eq(b'\\').to_bitmask() }
}

#[cfg(not(target_arch = "wasm32"))]
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
pub(crate) fn marks<S: Simd>(bytes: u8x64<S>) -> Marks {
    // This bit turns brackets into braces, and no other byte into one.
    let braces = bytes | 0x20;
    Marks {
        opening: braces.simd_eq(b'{').to_bitmask(),
        closing: braces.simd_eq(b'}').to_bitmask(),
        colons: bytes.simd_eq(b':').to_bitmask(),
        commas: bytes.simd_eq(b',').to_bitmask(),
    }
}

/// The number 1 in each byte of a word.
pub(crate) const LOW: u64 = 0x0101_0101_0101_0101;

/// Finds quotes and backslashes without SIMD, eight bytes at once.
pub(crate) fn quotes_by_words(block: &[u8; BLOCK]) -> Quotes {
    let quotes = by_words(block, |bytes| bytes ^ (LOW * u64::from(b'"')));
    Quotes { quotes, backslashes: by_words(block, |bytes| bytes ^ (LOW * u64::from(b'\\'))) }
}

/// Finds opening and closing brackets and braces without SIMD, and a few other bytes that JSON allows in strings only.
pub(crate) fn brackets_by_words(block: &[u8; BLOCK]) -> (u64, u64) {
    let words = block.as_chunks::<8>().0.iter().enumerate();
    words.fold((0, 0), |(opening, closing), (place, bytes)| {
        let bytes = u64::from_le_bytes(*bytes);
        // These bits make the four characters equal.
        let brackets = highest_of_zeros((bytes | (LOW * 0x26)) ^ (LOW * 0x7f));
        // This bit is set in both opening characters, and in neither closing one.
        let is_opening = bytes << 6;
        let gathered = |highest: u64| gathered(highest) << (8 * place);
        (opening | gathered(brackets & is_opening), closing | gathered(brackets & !is_opening))
    })
}

/// Finds colons without SIMD.
pub(crate) fn colons_by_words(block: &[u8; BLOCK]) -> u64 {
    by_words(block, |bytes| bytes ^ (LOW * u64::from(b':')))
}

/// Finds control characters without SIMD.
pub(crate) fn controls_by_words(block: &[u8; BLOCK]) -> u64 {
    let words = block.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    // Most blocks have none, and checking that is cheaper than finding their places.
    let borrows = words.fold(0, |borrows, bytes| borrows | (bytes.wrapping_sub(LOW * 0x20) & !bytes));
    if borrows & (LOW * 0x80) == 0 { 0 } else { by_words(block, |bytes| bytes & (LOW * 0xe0)) }
}

/// A mask of the bytes that `zero` turns into zero.
fn by_words(block: &[u8; BLOCK], zero: impl Fn(u64) -> u64) -> u64 {
    let words = block.as_chunks::<8>().0.iter().enumerate();
    words.fold(0, |mask, (place, bytes)| mask | zeros(zero(u64::from_le_bytes(*bytes))) << (8 * place))
}

/// A mask of the bytes that are zero.
fn zeros(bytes: u64) -> u64 {
    gathered(highest_of_zeros(bytes))
}

/// Sets the highest bit of each byte that is zero.
fn highest_of_zeros(bytes: u64) -> u64 {
    const MOST: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    !(((bytes & MOST) + MOST) | bytes | MOST)
}

/// Gathers the highest bits of all bytes in one byte. All other bits must be 0.
fn gathered(highest: u64) -> u64 {
    (highest >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finding_with_and_without_simd_gives_the_same(bytes in prop::collection::vec(any::<u8>(), BLOCK)) {
            let block = bytes.as_array().expect("a block");
            let (quotes, marks) = dispatch!(Level::new(), simd => {
                let bytes = u8x64::from_slice(simd, block);
                (quotes(bytes), marks(bytes))
            });
            prop_assert_eq!(quotes_by_words(block), quotes);
            let ((opening, closing), controls) = (brackets_by_words(block), controls_by_words(block));
            let bit = |mask: u64, place: usize| mask >> place & 1 == 1;
            for (place, byte) in bytes.iter().enumerate() {
                prop_assert_eq!(bit(quotes.quotes, place), *byte == b'"');
                prop_assert_eq!(bit(quotes.backslashes, place), *byte == b'\\');
                prop_assert_eq!(bit(controls, place), *byte < 0x20);
                prop_assert_eq!(bit(marks.commas, place), *byte == b',');
                prop_assert_eq!(bit(marks.colons, place), *byte == b':');
                prop_assert_eq!(bit(colons_by_words(block), place), *byte == b':');
                prop_assert_eq!(bit(marks.opening, place), b"{[".contains(byte));
                prop_assert_eq!(bit(marks.closing, place), b"}]".contains(byte));
                if b"{}[]".contains(byte) {
                    prop_assert_eq!(bit(opening, place), b"{[".contains(byte));
                    prop_assert_eq!(bit(closing, place), b"}]".contains(byte));
                }
            }
        }
    }
}
