//! The ids of alerts and incidents.

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Returns the number of the period that contains a time, as text. Returns an empty text for a missing or invalid time.
pub(crate) fn period(time: Option<&str>, minutes: u32) -> String {
    let time = time.and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
    let number = |time: OffsetDateTime| time.unix_timestamp().div_euclid(60 * i64::from(minutes.max(1)));
    time.map(number).map(|number| number.to_string()).unwrap_or_default()
}

/// Hashes a list of parts to 32 hexadecimal digits. Each part is preceded by its length, so that different lists are
/// never hashed as the same bytes.
#[must_use]
pub fn id_of(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize()[..16])
}

/// Formats bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Removes the white space between the tokens of a JSON text.
#[must_use]
pub fn compact_json(json: &[u8]) -> Vec<u8> {
    let mut compact = Vec::with_capacity(json.len());
    let mut rest = json;
    // Only the few bytes between strings are filtered; strings are copied whole.
    while let Some(opening) = memchr::memchr(b'"', rest) {
        let (between, string) = rest.split_at(opening);
        compact.extend(between.iter().filter(|byte| !byte.is_ascii_whitespace()));
        let (string, after) = string.split_at(string_length(string));
        compact.extend_from_slice(string);
        rest = after;
    }
    compact.extend(rest.iter().filter(|byte| !byte.is_ascii_whitespace()));
    compact
}

/// Returns the length of the string at the beginning, with its quotes. A string without an end extends to the end of
/// the text.
fn string_length(json: &[u8]) -> usize {
    let mut length = 1;
    while let Some(found) = json.get(length..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        length += found + 1;
        if json[length - 1] == b'"' {
            return length;
        }
        // Skips the character after a backslash.
        length += 1;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_two_digits_each() {
        let all: Vec<u8> = (0..=255).collect();
        let expected: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex(&all), expected);
    }

    #[test]
    fn a_period_depends_only_on_the_events_time() {
        let of = |time| period(Some(time), 60);
        assert_eq!(of("2026-11-21T10:00:00Z"), of("2026-11-21T11:59:59.999999+01:00"));
        assert_ne!(of("2026-11-21T10:00:00Z"), of("2026-11-21T09:59:59Z"));
        assert_ne!(of("1969-12-31T23:59:59Z"), of("1970-01-01T00:00:00Z"));
        assert_eq!((period(None, 60), period(Some("yesterday"), 60)), (String::new(), String::new()));
    }

    #[test]
    fn only_white_space_between_tokens_is_removed() {
        let record = serde_json::json!({"a b": ["c\" d", "\\", {}, " \\\" ", 1, null], "e": {"f": "", "": [[], true]}});
        let pretty = serde_json::to_string_pretty(&record).expect("a value is JSON");
        assert_eq!(compact_json(pretty.as_bytes()), record.to_string().as_bytes());
        // Invalid JSON is accepted too.
        assert_eq!(compact_json(br#" { "a\"#), br#"{"a\"#);
        assert_eq!(compact_json(br#" " a"#), br#"" a"#);
    }
}
