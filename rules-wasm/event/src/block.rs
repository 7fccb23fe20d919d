//! What is where in 64 bytes.

/// How many bytes are looked at in one step.
pub(crate) const BLOCK: usize = 64;

/// The whole blocks of a text, and behind them what is left of it, filled up with white space.
pub(crate) fn blocks(text: &[u8]) -> (&[[u8; BLOCK]], [u8; BLOCK]) {
    let (blocks, rest) = text.as_chunks();
    let mut last = [b' '; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    (blocks, last)
}

/// The bytes of a block that mean something, a bit for each.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) struct Masks {
    pub(crate) quotes: u64,
    pub(crate) backslashes: u64,
    /// Brackets and braces; and some other bytes that JSON has in strings only.
    pub(crate) brackets: u64,
    /// Control characters.
    pub(crate) controls: u64,
}

/// All of them, with what the processor has for looking at many bytes at once.
#[cfg(not(target_arch = "wasm32"))]
#[inline]
pub(crate) fn masks(block: &[u8; BLOCK]) -> Masks {
    use wide::u8x64;
    let bytes = u8x64::new(*block);
    let is = |byte: u8| bytes.simd_eq(u8x64::splat(byte)).to_bitmask();
    let controls = bytes.min(u8x64::splat(0x1f)).simd_eq(bytes);
    Masks {
        quotes: is(b'"'),
        backslashes: is(b'\\'),
        // With these bits, the four are one.
        brackets: (bytes | u8x64::splat(0x26)).simd_eq(u8x64::splat(0x7f)).to_bitmask(),
        controls: if controls.any() { controls.to_bitmask() } else { 0 },
    }
}

/// Only the backslashes.
#[cfg(not(target_arch = "wasm32"))]
#[inline]
pub(crate) fn backslashes(block: &[u8; BLOCK]) -> u64 {
    use wide::u8x64;
    u8x64::new(*block).simd_eq(u8x64::splat(b'\\')).to_bitmask()
}

/// All of them.
#[cfg(target_arch = "wasm32")]
pub(crate) fn masks(block: &[u8; BLOCK]) -> Masks {
    masks_by_words(block)
}

/// All of them, eight bytes at a time: rules have nothing for more.
#[cfg(any(target_arch = "wasm32", test))]
fn masks_by_words(block: &[u8; BLOCK]) -> Masks {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let mut masks = Masks { quotes: 0, backslashes: 0, brackets: 0, controls: 0 };
    for (place, bytes) in block.as_chunks::<8>().0.iter().enumerate() {
        let bytes = u64::from_le_bytes(*bytes);
        let are = |bytes: u64, byte: u8| zeros(bytes ^ (LOW * u64::from(byte))) << (8 * place);
        masks.quotes |= are(bytes, b'"');
        masks.backslashes |= are(bytes, b'\\');
        masks.brackets |= are(bytes | (LOW * 0x26), 0x7f);
        masks.controls |= are(bytes & (LOW * 0xe0), 0);
    }
    masks
}

/// A bit for each byte that is zero.
#[cfg(any(target_arch = "wasm32", test))]
fn zeros(bytes: u64) -> u64 {
    const MOST: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let highest = !(((bytes & MOST) + MOST) | bytes | MOST);
    // Moves the highest bit of each byte next to the others.
    (highest >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Only the backslashes.
#[cfg(target_arch = "wasm32")]
pub(crate) fn backslashes(block: &[u8; BLOCK]) -> u64 {
    masks(block).backslashes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rules_and_their_host_see_the_same(bytes in prop::collection::vec(any::<u8>(), BLOCK)) {
            let block = bytes.as_array().expect("a block");
            let masks = masks(block);
            prop_assert_eq!(&masks_by_words(block), &masks);
            prop_assert_eq!(backslashes(block), masks.backslashes);
            let bit = |mask: u64, place: usize| mask >> place & 1 == 1;
            for (place, byte) in bytes.iter().enumerate() {
                prop_assert_eq!(bit(masks.quotes, place), *byte == b'"');
                prop_assert_eq!(bit(masks.controls, place), *byte < 0x20);
                let is_bracket = b"{}[]".contains(byte);
                prop_assert!(bit(masks.brackets, place) || !is_bracket);
            }
        }
    }
}
