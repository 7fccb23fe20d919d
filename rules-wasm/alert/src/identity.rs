//! What alerts and incidents are known by.

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The number of the period that a time is in, as a text; of what is no time, an empty one.
pub(crate) fn period(time: Option<&str>, minutes: u32) -> String {
    let time = time.and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
    let number = |time: OffsetDateTime| time.unix_timestamp().div_euclid(60 * i64::from(minutes.max(1)));
    time.map(number).map(|number| number.to_string()).unwrap_or_default()
}

/// A hash over parts, each preceded by its length, so that no two lists of parts are one text: 32 hexadecimal digits.
#[must_use]
pub fn id_of(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize()[..16])
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON without the white space between its tokens.
#[must_use]
pub fn without_space(json: &[u8]) -> Vec<u8> {
    let mut compact = Vec::with_capacity(json.len());
    let mut rest = json;
    // Between strings there is little; what is inside of them is passed over at once.
    while let Some(opening) = memchr::memchr(b'"', rest) {
        let (between, string) = rest.split_at(opening);
        compact.extend(between.iter().filter(|byte| !byte.is_ascii_whitespace()));
        let (string, behind) = string.split_at(string_length(string));
        compact.extend_from_slice(string);
        rest = behind;
    }
    compact.extend(rest.iter().filter(|byte| !byte.is_ascii_whitespace()));
    compact
}

/// The length of the string at the beginning with its quotes; what is no JSON may end inside of one.
fn string_length(json: &[u8]) -> usize {
    let mut length = 1;
    while let Some(found) = json.get(length..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        length += found + 1;
        if json[length - 1] == b'"' {
            return length;
        }
        // Whatever is escaped.
        length += 1;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_the_same_wherever_and_in_whatever_order_its_alerts_are_raised() {
        let of = |time| period(Some(time), 60);
        assert_eq!(of("2026-11-21T10:00:00Z"), of("2026-11-21T11:59:59.999999+01:00"));
        assert_ne!(of("2026-11-21T10:00:00Z"), of("2026-11-21T09:59:59Z"));
        assert_ne!(of("1969-12-31T23:59:59Z"), of("1970-01-01T00:00:00Z"));
        assert_eq!((period(None, 60), period(Some("yesterday"), 60)), (String::new(), String::new()));
    }

    #[test]
    fn the_same_record_has_the_same_id_however_it_is_indented() {
        let record = serde_json::json!({"a b": ["c\" d", "\\", {}, " \\\" ", 1, null], "e": {"f": "", "": [[], true]}});
        let pretty = serde_json::to_string_pretty(&record).expect("JSON");
        assert_eq!(without_space(pretty.as_bytes()), record.to_string().as_bytes());
        // What is no JSON has an id as well.
        assert_eq!(without_space(br#" { "a\"#), br#"{"a\"#);
        assert_eq!(without_space(br#" " a"#), br#"" a"#);
    }
}
