//! Numbers that Fluent Bit writes and cannot read again.
//!
//! Fluent Bit hands over a record as JSON, with 16 digits a number (`msgpack2json` in `flb_pack.c`, 5.1.1). The doubles
//! from 1.7976931348623155e308 on are then rounded up to a number that is no double. Its reader refuses that number, and
//! its filter frees a buffer twice (`cb_wasm_filter` in `filter_wasm.c`): Fluent Bit ends, and ends again at each start,
//! because it reads the same record first. So no answer may have such a number, also not a record that goes on as it
//! came.

use portcullis_event::{json, places_of};

/// The greatest double that 16 digits do not round up too far, as Fluent Bit writes it.
const GREATEST: &str = "1.797693134862315e+308";

/// Returns the record with [`GREATEST`] or its negative in the place of each number that no double can hold. `None` if it
/// has no such number, or is no text.
pub(crate) fn within_bounds(record: &[u8]) -> Option<String> {
    // Fluent Bit writes this into each such number.
    if !has_sign(record) {
        return None;
    }
    let (bytes, record) = (record, str::from_utf8(record).ok()?);
    let (mut bounded, mut copied, mut at) = (String::new(), 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at += json::string_length(&bytes[at..]).unwrap_or(bytes.len() - at),
            b'-' | b'0'..=b'9' => {
                let begin = at;
                let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
                at += bytes[at..].iter().take_while(|byte| is_part(byte)).count();
                let number = &record[begin..at];
                if number.parse().is_ok_and(f64::is_infinite) {
                    bounded.push_str(&record[copied..begin]);
                    bounded.push_str(if number.starts_with('-') { "-" } else { "" });
                    bounded.push_str(GREATEST);
                    copied = at;
                }
            }
            _ => at += 1,
        }
    }
    (copied > 0).then(|| bounded + &record[copied..])
}

/// Whether a text has the sign of the exponent that all numbers have which could be too large.
fn has_sign(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    let mut signs = words.iter().map(|word| places_of(b'+', u64::from_le_bytes(*word)));
    let exponents = |rest: &[u8]| rest.windows(5).any(|window| window == b"e+308");
    // Most records have no plus sign at all, and eight bytes at once are faster than one.
    (signs.any(|signs| signs != 0) || rest.contains(&b'+')) && exponents(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// A number as Fluent Bit writes it: C's `%.16g`.
    fn written(number: f64) -> String {
        let (mantissa, exponent) = match format!("{number:.15e}").split_once('e') {
            Some((mantissa, exponent)) => (mantissa.to_owned(), exponent.parse::<i32>().expect("an exponent")),
            None => unreachable!("the format has an exponent"),
        };
        let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
        format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    }

    #[test]
    fn the_greatest_numbers_are_bounded_and_nothing_else_changes() {
        assert_eq!(written(f64::MAX), "1.797693134862316e+308");
        let record = r#"{"a":1.797693134862316e+308,"b":[-1.797693134862316e+308,1.7e+308,5],"c":"1.797693134862316e+308","\"1e+308":"\\"}"#;
        let bounded = r#"{"a":1.797693134862315e+308,"b":[-1.797693134862315e+308,1.7e+308,5],"c":"1.797693134862316e+308","\"1e+308":"\\"}"#;
        assert_eq!(within_bounds(record.as_bytes()).as_deref(), Some(bounded));
        assert_eq!(within_bounds(bounded.as_bytes()), None);
        for other in ["", "{}", r#"{"a":"e+308"}"#, r#"{"a":1e+308}"#, "e+308\"", "\"e+308\\", "1e+308e+308-"] {
            assert_eq!(within_bounds(other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_number_that_fluent_bit_writes_can_be_read(bits in prop_oneof![any::<u64>(), (0_u64..9).prop_map(|n| f64::MAX.to_bits() - n)], negative in any::<bool>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            let number = if negative { -number } else { number };
            let record = format!("[{}]", written(number));
            let answer = within_bounds(record.as_bytes()).unwrap_or(record);
            let read: Value = serde_json::from_str(&answer).expect("a double");
            let read = read[0].as_f64().expect("a number");
            prop_assert!(read.is_finite() && ((read - number) / number).abs() < 1e-15 || number == 0.0, "{} {}", read, number);
            // Fluent Bit writes what it has read once more, for the next filter.
            prop_assert_eq!(within_bounds(format!("[{}]", written(read)).as_bytes()), None);
        }
    }
}
