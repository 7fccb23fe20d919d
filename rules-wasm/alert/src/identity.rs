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
}
