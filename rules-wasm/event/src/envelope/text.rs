//! The forms in which texts contain JSON: after a prefix, in base64, or several values that follow each other.

use crate::json::{string_length, value_length};

/// Base64 of a record is longer than this.
const SHORTEST: usize = 24;

/// The JSON in a text after a prefix: the text from the first object with members on, or the string that holds such an
/// object as text, as in `msg="{\"kind\": …}"`, whichever begins first.
#[must_use]
pub fn behind_prefix(text: &str) -> Option<&str> {
    let mut brackets = text.match_indices('{');
    let object = brackets.find_map(|(at, _)| text[at + 1..].trim_ascii_start().starts_with('"').then_some(at));
    let before = &text[..object.unwrap_or(text.len())];
    match before.find("\"{\\\"") {
        Some(quote) => string_length(&text.as_bytes()[quote..]).map(|length| &text[quote..quote + length]),
        None => object.map(|object| &text[object..]),
    }
}

/// Whether a broken text says that it is an audit event.
pub(super) fn names_audit_event(text: &str) -> bool {
    text.contains("\"auditID\"") || text.contains("audit.k8s.io/")
}

/// Whether a text begins like base64 of JSON, of gzip (RFC 1952) or of zstd (RFC 8878), and goes on like base64.
pub(super) fn may_be_base64(text: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=\r\n".contains(&byte);
    if text.len() < SHORTEST || !text.bytes().take(2 * SHORTEST).all(is_base64) {
        return false;
    }
    let begins = matches!(first_byte(text.as_bytes()), Some(b'{' | b'[' | b'"' | b' ' | b'\n'));
    begins || text.starts_with("H4sI") || text.starts_with("KLUv")
}

/// The first byte that base64 encodes.
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

/// Values that follow each other with only white space or a comma between them. The last one is the rest of the text.
#[derive(Clone)]
pub(super) struct Sequence<'t>(&'t str);

impl<'t> Sequence<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self(text)
    }

    /// The first of several values. `None` if the text holds a single value.
    pub(super) fn first_of_several(text: &'t str) -> Option<&'t str> {
        let mut values = Self(text);
        values.next().filter(|_| !values.0.is_empty())
    }
}

impl<'t> Iterator for Sequence<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        if self.0.is_empty() {
            return None;
        }
        let (value, behind) = self.0.split_at(value_length(self.0.as_bytes()).unwrap_or(self.0.len()));
        self.0 = behind.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        Some(value)
    }
}
