//! Decodes base64 in texts.

use std::io::{self, Read as _};

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use portcullis_event::envelope::Decoded;

use super::compression::decompressed_counted;
use super::is_compressed;

/// Padding is optional.
const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

/// Bytes that compressed contents of records may have in all.
#[derive(Debug)]
pub(super) struct Allowance {
    /// The bytes that are left.
    pub(super) left: u64,
    /// Bytes that each byte of a document adds.
    pub(super) ratio: u64,
    /// Whether contents were too long for what was left.
    pub(super) is_exceeded: bool,
}

impl Allowance {
    /// Maximum number of bytes that are left, so that a long input does not save up for a bomb.
    const MOST: u64 = 1 << 30;

    /// Adds what a document of this length allows.
    pub(super) fn add(&mut self, length: usize) {
        let more = self.ratio.saturating_mul(length as u64);
        self.left = self.left.saturating_add(more).min(Self::MOST.max(self.left));
    }
}

impl Default for Allowance {
    /// For an input of any length: a gibibyte, and a hundred times its length. Audit logs hardly shrink to a hundredth.
    fn default() -> Self {
        Self { left: Self::MOST, ratio: 100, is_exceeded: false }
    }
}

/// Decodes a text and decompresses its contents, into at most `most` bytes. Compressed contents that are cut off are
/// used as far as they go.
pub(super) fn decode(text: &str, most: usize, allowance: &mut Allowance) -> Decoded {
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    if text.len() / 4 * 3 > most {
        return Decoded::TooLong;
    }
    let decoded = if text.contains(|c: char| c.is_ascii_whitespace()) {
        engine.decode(text.split_ascii_whitespace().collect::<String>())
    } else {
        engine.decode(text)
    };
    let Ok(decoded) = decoded else { return Decoded::Nothing };
    if !is_compressed(&decoded) {
        return Decoded::Bytes(decoded);
    }
    let limit = (most as u64).min(allowance.left);
    let (input, counts) = decompressed_counted(Box::new(io::Cursor::new(decoded)), limit + 1);
    let mut bytes = Vec::new();
    let read = input.and_then(|input| input.take(limit + 1).read_to_end(&mut bytes));
    allowance.left = allowance.left.saturating_sub(counts.produced());
    if bytes.len() as u64 > limit || read.as_ref().is_err_and(super::is_too_large) {
        allowance.is_exceeded |= limit < most as u64;
        Decoded::TooLong
    } else if read.is_err() && bytes.is_empty() {
        Decoded::Nothing
    } else {
        Decoded::Bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::compression::gzip;

    #[test]
    fn contents_that_yield_nothing_use_up_the_allowance() {
        // Twenty mebibytes of empty members, in two kilobytes or so.
        let bomb = STANDARD.encode(gzip(&gzip(b"").repeat(1 << 20)));
        let mut allowance = Allowance { left: 50 << 20, ratio: 0, is_exceeded: false };
        let mut tries = 0;
        while !allowance.is_exceeded {
            decode(&bomb, 64 << 20, &mut allowance);
            tries += 1;
        }
        assert_eq!(tries, 3, "{allowance:?}");
        assert!(matches!(decode(&bomb, 64 << 20, &mut allowance), Decoded::TooLong));
    }
}
