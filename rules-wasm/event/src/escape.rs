//! The text of a JSON string.

use crate::block::{BLOCK, backslashes};

/// So many bytes are copied at once, needed or not: what stands between two escapes is mostly short.
const COPY: usize = 16;

/// The text that a valid JSON string stands for, given without its quotes. A lone surrogate becomes U+FFFD.
pub(crate) fn unescaped(string: &str) -> String {
    let mut buffer = Vec::new();
    unescape(string, &mut buffer).to_owned()
}

/// The same, in a buffer that is kept.
pub(crate) fn unescape<'b>(string: &str, buffer: &'b mut Vec<u8>) -> &'b str {
    let string = string.as_bytes();
    // No text is longer than it is written.
    if buffer.len() < string.len() + COPY {
        buffer.resize(string.len() + COPY, 0);
    }
    let mut text = Text { string, buffer, read: 0, written: 0 };
    let mut escapes = Escapes::default();
    let mut base = 0;
    let (blocks, rest) = string.as_chunks::<BLOCK>();
    let mut last = [0; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    for block in blocks.iter().chain([&last]) {
        let mut places = escapes.escaped(backslashes(block));
        while places != 0 {
            text.escaped(base + places.trailing_zeros() as usize);
            places &= places - 1;
        }
        base += BLOCK;
    }
    text.copy(string.len());
    let written = text.written;
    std::str::from_utf8(&buffer[..written]).unwrap_or_default()
}

/// Which bytes are escaped, block by block.
#[derive(Default)]
pub(crate) struct Escapes {
    /// 1 if the first byte of the next block is.
    next: u64,
}

impl Escapes {
    /// The bytes that are escaped by the backslash before them, by the block's backslashes.
    #[inline]
    pub(crate) fn escaped(&mut self, backslashes: u64) -> u64 {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        if backslashes == 0 {
            return std::mem::take(&mut self.next);
        }
        let backslashes = backslashes & !self.next;
        let follows = (backslashes << 1) | self.next;
        // Of backslashes in a row every second one is escaped: adding finds the ends of rows that begin at an odd place.
        let odd_starts = backslashes & !EVEN & !follows;
        let (ends, carry) = odd_starts.overflowing_add(backslashes);
        self.next = u64::from(carry);
        (EVEN ^ (ends << 1)) & follows
    }
}

/// A text that is being written.
struct Text<'b> {
    string: &'b [u8],
    buffer: &'b mut [u8],
    /// Up to here it has been read, and written.
    read: usize,
    written: usize,
}

impl Text<'_> {
    /// All up to an escaped byte, but for the backslash before it.
    #[inline]
    fn escaped(&mut self, at: usize) {
        // The second half of a pair that has been read.
        if at <= self.read {
            return;
        }
        self.copy(at - 1);
        self.read = at;
        // These are themselves, and copied with what follows.
        if !matches!(self.string[at], b'"' | b'\\' | b'/') {
            self.other(at);
        }
    }

    #[inline(never)]
    fn other(&mut self, at: usize) {
        self.buffer[self.written] = match self.string[at] {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 0x08,
            b'f' => 0x0c,
            _ => return self.code_point(at - 1),
        };
        self.written += 1;
        self.read = at + 1;
    }

    /// A character by its number: one code unit of UTF-16, or two where the first is half of a pair and the second its
    /// other half.
    fn code_point(&mut self, at: usize) {
        let first = self.code_unit(at).unwrap_or_default();
        self.read = at + 6;
        let second = (0xd800..0xdc00).contains(&first).then(|| self.code_unit(at + 6)).flatten();
        let character = match second.filter(|second| (0xdc00..0xe000).contains(second)) {
            Some(second) => {
                self.read += 6;
                char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
            }
            None => char::from_u32(first),
        };
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        self.written += character.encode_utf8(&mut self.buffer[self.written..]).len();
    }

    fn code_unit(&self, at: usize) -> Option<u32> {
        let digits = self.string.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    /// All up to a place as it is.
    #[inline]
    fn copy(&mut self, to: usize) {
        let (mut from, mut at) = (self.read, self.written);
        self.written += to - from;
        while from < to {
            match (self.string.get(from..from + COPY), self.buffer.get_mut(at..at + COPY)) {
                (Some(bytes), Some(room)) => room.copy_from_slice(bytes),
                _ => return self.buffer[at..self.written].copy_from_slice(&self.string[from..to]),
            }
            from += COPY;
            at += COPY;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pair_of_surrogates_is_one_character_and_half_of_one_is_none() {
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
