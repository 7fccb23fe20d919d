//! Escapes in JSON strings.

#[cfg(not(target_arch = "wasm32"))]
use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};

use super::utf8::utf8;
use crate::scan::{BLOCK, Escapes, LOW, blocks, less, quotes_by_words};

/// Whether a text needs no escapes in a JSON string.
#[must_use]
pub(crate) const fn is_written_as_it_is(text: &str) -> bool {
    let (eights, rest) = text.as_bytes().as_chunks();
    // Eight bytes at once, because much of an alert is text. The last bytes are filled up with white space.
    let mut last = [b' '; 8];
    last.split_at_mut(rest.len()).0.copy_from_slice(rest);
    let mut place = 0;
    while place < eights.len() {
        if has_escaped(eights[place]) {
            return false;
        }
        place += 1;
    }
    !has_escaped(last)
}

/// Appends a text as a JSON string.
pub fn write_text(text: &str, json: &mut String) {
    if is_written_as_it_is(text) {
        json.reserve(text.len() + 2);
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        // Writing a text to memory cannot fail.
        json.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

/// Whether one of the bytes must be escaped: a quote, a backslash or a control character.
const fn has_escaped(bytes: [u8; 8]) -> bool {
    specials(bytes) != 0
}

/// Sets the highest bit of the first byte that is a quote, a backslash or a control character, and of no byte before
/// it. After it, any highest bit may be set.
#[inline]
const fn specials(bytes: [u8; 8]) -> u64 {
    let bytes = u64::from_le_bytes(bytes);
    less(bytes, 0x20) | less(bytes ^ (LOW * b'"' as u64), 1) | less(bytes ^ (LOW * b'\\' as u64), 1)
}

/// Returns the first place from `at` on of a quote, a backslash or a control character.
#[inline]
pub(crate) fn first_special(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let specials = specials(*eight);
        if specials != 0 {
            return Some(at + specials.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    first_special_in_last_bytes(bytes, at)
}

#[cold]
fn first_special_in_last_bytes(bytes: &[u8], at: usize) -> Option<usize> {
    let is_special = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
    bytes.get(at..)?.iter().position(is_special).map(|place| at + place)
}

/// Returns the text of a valid JSON string, given without its quotes. A lone surrogate becomes U+FFFD.
pub(crate) fn unescaped(string: &str) -> String {
    let mut buffer = Vec::new();
    unescape(string, &mut buffer).to_owned()
}

/// Whether this is the text of a valid JSON string, given without its quotes.
pub(crate) fn unescapes_to(string: &str, text: &str) -> bool {
    let (mut string, mut text) = (string, text);
    while let Some(backslash) = string.bytes().position(|byte| byte == b'\\') {
        let (plain, escape) = (&string[..backslash], &string[backslash + 1..]);
        let (character, length) = character(escape.as_bytes());
        let Some(rest) = text.strip_prefix(plain).and_then(|rest| rest.strip_prefix(character)) else { return false };
        (string, text) = (&escape[length..], rest);
    }
    string == text
}

/// [`unescaped`] into a buffer.
pub(crate) fn unescape<'b>(string: &str, buffer: &'b mut Vec<u8>) -> &'b str {
    let string = string.as_bytes();
    // No text is longer than its string. Full blocks are copied even where less is needed.
    if buffer.len() < string.len() + BLOCK {
        buffer.resize(string.len() + BLOCK, 0);
    }
    #[cfg(not(target_arch = "wasm32"))]
    let so_far = dispatch!(Level::new(), simd => unescape_plain(simd, string, buffer));
    #[cfg(target_arch = "wasm32")]
    let so_far = SoFar::default();
    let written = unescape_any(string, so_far, buffer);
    utf8(&buffer[..written]).unwrap_or_default()
}

/// How far a string was read, in full blocks, and its text written.
#[derive(Clone, Copy, Default)]
struct SoFar {
    read: usize,
    written: usize,
    escapes: Escapes,
}

/// Reads a string while it has no other escapes than those of quotes, backslashes and slashes, as in JSON text inside
/// JSON. Unescaping these only drops the backslash.
#[cfg(not(target_arch = "wasm32"))]
#[expect(
    clippy::inline_always,
    reason = "SIMD code is compiled for the processor only where it is inlined into its caller"
)]
#[inline(always)]
fn unescape_plain<S: Simd>(simd: S, string: &[u8], buffer: &mut [u8]) -> SoFar {
    let mut so_far = SoFar::default();
    let (whole, last) = blocks(string);
    for block in whole.iter().chain([&last]) {
        let SoFar { read, mut written, mut escapes } = so_far;
        let bytes = u8x64::from_slice(simd, block);
        let backslashes = bytes.simd_eq(b'\\').to_bitmask();
        let escaped = escapes.escaped(backslashes);
        let others = escaped & !backslashes & !bytes.simd_eq(b'"').to_bitmask();
        if others != 0 && others & !bytes.simd_eq(b'/').to_bitmask() != 0 {
            break;
        }
        let present = (string.len() - read).min(BLOCK);
        let kept = !(backslashes & !escaped);
        if kept == u64::MAX {
            buffer[written..written + BLOCK].copy_from_slice(block);
            written += present;
        } else {
            // Only bytes before the end count, and there is at least one.
            let kept = kept & (u64::MAX >> (BLOCK - present));
            for (place, bytes) in block.chunks_exact(S::u8s::LEN).enumerate() {
                let kept = kept >> (S::u8s::LEN * place) & (u64::MAX >> (BLOCK - S::u8s::LEN));
                let bytes = S::u8s::from_slice(simd, bytes).compress(S::mask8s::from_bitmask(simd, kept));
                bytes.store_slice(&mut buffer[written..written + S::u8s::LEN]);
                written += kept.count_ones() as usize;
            }
        }
        so_far = SoFar { read: read + present, written, escapes };
    }
    so_far
}

/// Reads the rest of a string with any escapes, and returns the length of the text.
fn unescape_any(string: &[u8], so_far: SoFar, buffer: &mut [u8]) -> usize {
    let SoFar { read: mut base, mut written, mut escapes } = so_far;
    if base == string.len() {
        return written;
    }
    // How far the string was read and its text written.
    let mut read = base;
    let copy = |from: usize, to: usize, written: &mut usize, buffer: &mut [u8]| {
        buffer[*written..*written + to - from].copy_from_slice(&string[from..to]);
        *written += to - from;
    };
    let (whole, last) = blocks(&string[read..]);
    for block in whole.iter().chain([&last]) {
        let mut places = escapes.escaped(quotes_by_words(block).backslashes);
        while places != 0 {
            let at = base + places.trailing_zeros() as usize;
            places &= places - 1;
            // The second half of a surrogate pair was read with the first.
            if at >= read {
                // Everything up to the backslash, which may be in the block before.
                copy(read, read.max(at - 1), &mut written, buffer);
                read = at;
                // These characters stay as they are, and are copied with the bytes after them.
                if !matches!(string[at], b'"' | b'\\' | b'/') {
                    let (character, length) = character(&string[at..]);
                    written += character.encode_utf8(&mut buffer[written..]).len();
                    read += length;
                }
            }
        }
        base += BLOCK;
    }
    copy(read, string.len(), &mut written, buffer);
    written
}

/// Returns the character of an escape, given without its backslash, and the escape's length.
#[inline(never)]
fn character(escape: &[u8]) -> (char, usize) {
    match escape[0] {
        same @ (b'"' | b'\\' | b'/') => (same.into(), 1),
        b'n' => ('\n', 1),
        b't' => ('\t', 1),
        b'r' => ('\r', 1),
        b'b' => ('\u{8}', 1),
        b'f' => ('\u{c}', 1),
        _ => code_point(escape),
    }
}

/// Returns a character given by its number: one code unit of UTF-16, or two that are a surrogate pair.
fn code_point(escape: &[u8]) -> (char, usize) {
    let first = code_unit(escape).unwrap_or_default();
    let is_half = (0xd800..0xdc00).contains(&first) && escape.get(5) == Some(&b'\\');
    let second = if is_half { escape.get(6..).and_then(code_unit) } else { None };
    let (number, length) = match second.filter(|second| (0xdc00..0xe000).contains(second)) {
        Some(second) => (0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00), 11),
        None => (first, 5),
    };
    (char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER), length)
}

fn code_unit(escape: &[u8]) -> Option<u32> {
    let digits = escape.get(..5)?.strip_prefix(b"u")?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_surrogate_pair_is_one_character_and_a_lone_surrogate_becomes_u_fffd() {
        for (string, text) in [
            (r"\ud83d\ude00", "\u{1f600}"),
            (r"a\ud83db", "a\u{fffd}b"),
            (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
            (r"\ud83d\\ude00", "\u{fffd}\\ude00"),
            (r#"\"\\\/\b\f\n\r\t\u0041"#, "\"\\/\u{8}\u{c}\n\r\tA"),
            (r"\\\\\\", r"\\\"),
        ] {
            assert_eq!(unescaped(string), text, "{string}");
        }
    }

    proptest! {
        #[test]
        fn it_is_what_serde_json_reads(text in r#"([a-z]{0,30}|["\\/\n\t\u{1}é😀]{0,9}){0,12}"#, ascii in any::<bool>()) {
            let mut json = serde_json::to_string(&text).expect("JSON");
            if ascii {
                let unit = |unit| match u8::try_from(unit) {
                    Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
                    _ => format!("\\u{unit:04x}"),
                };
                json = json.encode_utf16().map(unit).collect();
            }
            prop_assert_eq!(unescaped(&json[1..json.len() - 1]), text);
        }
    }
}
