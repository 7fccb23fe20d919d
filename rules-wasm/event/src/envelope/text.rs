//! Records in texts: as JSON, behind a prefix, in base64, with their ends missing.

use super::search::{Around, Decoded, Found, Part, Search, WORK};
use crate::json::{Document, cut, string_length, value_length};
use crate::record::{Outcome, Rejected};
use crate::scan::Tokens;

/// A record in base64 is longer than that.
const SHORTEST: usize = 24;

impl<E> Search<'_, E> {
    /// A text that may hold JSON.
    pub(super) fn text(&mut self, text: &str, around: Around<'_, E>) -> Result<Found, E> {
        if around.depth == 0 || !self.may_read(text) {
            return Ok(Found::Nothing);
        }
        let text = text.trim_start_matches('\u{feff}').trim_ascii();
        if text.starts_with(['{', '[', '"']) {
            let found = self.json(text, around)?;
            if found == Found::Records || text.starts_with('{') {
                return Ok(found);
            }
        }
        if may_be_base64(text) {
            return self.base64(text, around);
        }
        if text.contains('\n') {
            let lines = text.lines().map(str::trim_ascii).filter(|line| !line.is_empty());
            return self.list(lines.map(Part::Text), around.deeper());
        }
        match json_in(text) {
            Some(json) => self.json(json, around.deeper()),
            None => Ok(Found::Nothing),
        }
    }

    /// A text that begins like JSON.
    pub(super) fn json(&mut self, text: &str, around: Around<'_, E>) -> Result<Found, E> {
        if !self.may_read(text) {
            return Ok(Found::Nothing);
        }
        if let Some(document) = Document::read(text, &mut Tokens::default()) {
            return self.value(document.value(), Around { cut: None, ..around });
        }
        let mut parts = Parts(text);
        if let Some(first) = parts.next().filter(|_| !parts.0.is_empty()) {
            // Something in brackets may be a prefix.
            if first.starts_with('[') && Document::read(first, &mut Tokens::default()).is_none() {
                return Ok(Found::Nothing);
            }
            return self.list(Parts(text).map(Part::Text), around);
        }
        match self.record(text, false, around)? {
            Found::Records => Ok(Found::Records),
            Found::Nothing => self.cut(text, around),
        }
    }

    /// What holds records, and has its end missing: those that are whole, and the one in which it ends.
    fn cut(&mut self, text: &str, around: Around<'_, E>) -> Result<Found, E> {
        let mut closed = String::new();
        if let Some(end) = cut::close(text, &mut closed)
            && let Some(document) = Document::read(&closed, &mut Tokens::default())
            && self.value(document.value(), Around { cut: Some(end), ..around })? == Found::Records
        {
            return Ok(Found::Records);
        }
        if let Some(start) = cut::close_string(text, &mut closed)
            && let Some(document) = Document::read(&closed, &mut Tokens::default())
            && self.value(document.value(), Around { cut: Some(start), ..around })? == Found::Records
        {
            return Ok(Found::Records);
        }
        // What begins like a record and is not JSON is one that is broken, if it speaks of being one.
        let speaks = || text.contains("\"auditID\"") || text.contains("audit.k8s.io/");
        if around.path.is_empty() || !speaks() {
            return Ok(Found::Nothing);
        }
        if let Some(lists) = around.lists {
            lists.flush(self)?;
        }
        self.nothing(text, around.path)?;
        Ok(Found::Records)
    }

    fn base64(&mut self, text: &str, around: Around<'_, E>) -> Result<Found, E> {
        match (self.decode)(text, self.left) {
            Decoded::Nothing => Ok(Found::Nothing),
            Decoded::TooLong => {
                let max = self.left;
                self.show(text, around, Outcome::Rejected(Rejected::TooLong { length: max as u64 + 1, max }))
            }
            Decoded::Bytes(bytes) => {
                self.left = self.left.saturating_sub(bytes.len());
                self.work = self.work.saturating_add(WORK * bytes.len());
                match String::from_utf8(bytes) {
                    Ok(text) => self.text(&text, around.deeper()),
                    Err(_) => Ok(Found::Nothing),
                }
            }
        }
    }
}

/// What stands behind a prefix: the text from the first object with members on, or the string that holds one as text, as in
/// `msg="{\"kind\": …}"`, whichever begins first.
pub(super) fn json_in(text: &str) -> Option<&str> {
    let mut brackets = text.match_indices('{');
    let object = brackets.find_map(|(at, _)| text[at + 1..].trim_ascii_start().starts_with('"').then_some(at));
    let before = &text[..object.unwrap_or(text.len())];
    match before.find("\"{\\\"") {
        Some(quote) => string_length(&text.as_bytes()[quote..]).map(|length| &text[quote..quote + length]),
        None => object.map(|object| &text[object..]),
    }
}

/// Whether a text begins like base64 of JSON, of gzip (RFC 1952) or of zstd (RFC 8878), and goes on like base64.
fn may_be_base64(text: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=\r\n".contains(&byte);
    if text.len() < SHORTEST || !text.bytes().take(2 * SHORTEST).all(is_base64) {
        return false;
    }
    let begins = matches!(first_byte(text.as_bytes()), Some(b'{' | b'[' | b'"' | b' ' | b'\n'));
    begins || text.starts_with("H4sI") || text.starts_with("KLUv")
}

/// The first byte that base64 stands for.
fn first_byte(base64: &[u8]) -> Option<u8> {
    let bits = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    Some(bits(*base64.first()?)? << 2 | bits(*base64.get(1)?)? >> 4)
}

/// Values that stand one after the other, with nothing but white space or a comma between them; the last one is whatever is left.
#[derive(Clone)]
struct Parts<'t>(&'t str);

impl<'t> Iterator for Parts<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        if self.0.is_empty() {
            return None;
        }
        let (value, behind) = self.0.split_at(value_length(self.0).unwrap_or(self.0.len()));
        self.0 = behind.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        Some(value)
    }
}
