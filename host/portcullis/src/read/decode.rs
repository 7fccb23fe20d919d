//! Decodes base64 in texts.

use std::io::{self, Read as _};

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use portcullis_event::envelope::Decoded;

use super::{decompressed, is_compressed};

/// Padding is optional.
const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

/// Decodes a text and decompresses its contents, into at most `most` bytes. Compressed contents that are cut off are
/// used as far as they go.
pub(super) fn decode(text: &str, most: usize) -> Decoded {
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
    let Ok(input) = decompressed(Box::new(io::Cursor::new(decoded))) else { return Decoded::Nothing };
    let mut bytes = Vec::new();
    let read = input.take(most as u64 + 1).read_to_end(&mut bytes);
    if bytes.len() > most {
        Decoded::TooLong
    } else if read.is_err() && bytes.is_empty() {
        Decoded::Nothing
    } else {
        Decoded::Bytes(bytes)
    }
}
