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

/// The highest bit of each byte in a word.
const HIGHEST: u64 = LOW << 7;

/// Sets the highest bit of the first byte of a word that is less than this number, and of no byte before it. After it,
/// any highest bit may be set. Bytes from 128 on are not less.
#[inline]
pub(crate) const fn less(bytes: u64, than: u64) -> u64 {
    bytes.wrapping_sub(LOW * than) & !bytes & HIGHEST
}

/// Finds quotes and backslashes without SIMD, eight bytes at once.
pub(crate) fn quotes_by_words(block: &[u8; BLOCK]) -> Quotes {
    let backslashes = rare_by_words(block, |bytes| bytes ^ (LOW * u64::from(b'\\')));
    Quotes { quotes: by_words(block, |bytes| bytes ^ (LOW * u64::from(b'"'))), backslashes }
}

/// Finds brackets and braces without SIMD, and a few other bytes that JSON allows in strings only.
pub(crate) fn brackets_by_words(block: &[u8; BLOCK]) -> u64 {
    // These bits make the four characters equal.
    by_words(block, |bytes| (bytes | (LOW * 0x26)) ^ (LOW * 0x7f))
}

/// Finds colons without SIMD.
pub(crate) fn colons_by_words(block: &[u8; BLOCK]) -> u64 {
    by_words(block, |bytes| bytes ^ (LOW * u64::from(b':')))
}

/// Finds control characters without SIMD.
pub(crate) fn controls_by_words(block: &[u8; BLOCK]) -> u64 {
    rare_by_words(block, |bytes| bytes & (LOW * 0xe0))
}

/// [`by_words`] for bytes that most blocks do not have: checking that is cheaper than finding their places.
fn rare_by_words(block: &[u8; BLOCK], zero: impl Fn(u64) -> u64) -> u64 {
    let found = words(block).fold(0, |found, bytes| found | less(zero(bytes), 1));
    if found == 0 { 0 } else { by_words(block, zero) }
}

fn words(block: &[u8; BLOCK]) -> impl Iterator<Item = u64> {
    block.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}

/// A mask of the bytes that `zero` turns into zero.
fn by_words(block: &[u8; BLOCK], zero: impl Fn(u64) -> u64) -> u64 {
    let others = words(block).enumerate();
    !others.fold(0, |mask, (place, bytes)| mask | others_than_zero(zero(bytes)) << (8 * place))
}

/// A mask of the bytes that are not zero.
fn others_than_zero(bytes: u64) -> u64 {
    // Each summand of the product puts the bit of one byte to its place, and no two of them meet.
    marks_of_others(bytes).wrapping_mul(0x0002_0408_1020_4081) >> 56
}

/// Sets the highest bit of each byte of a word that is not zero, and no other bit.
#[inline]
const fn marks_of_others(bytes: u64) -> u64 {
    const MOST: u64 = !HIGHEST;
    // From a carry or from the byte itself.
    (((bytes & MOST) + MOST) | bytes) & HIGHEST
}

/// Sets the highest bit of each byte of a word that is this one, and no other bit.
#[inline]
#[must_use]
pub const fn places_of(byte: u8, word: u64) -> u64 {
    !marks_of_others(word ^ (LOW * byte as u64)) & HIGHEST
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
            let (brackets, controls) = (brackets_by_words(block), controls_by_words(block));
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
                prop_assert_eq!(bit(brackets, place), b"{}[]Yy_\x7f".contains(byte));
            }
        }
    }
}
