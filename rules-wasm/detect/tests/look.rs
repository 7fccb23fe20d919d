//! The look spares the reading, and costs no alert.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use portcullis_detect::{Buffers, detect, filter, may_match};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

static RECORDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/parity/events.ndjson");
    fs::read_to_string(file).expect("the records").lines().map(ToOwned::to_owned).collect()
});

/// Whether the record alerts, by itself or as the text of one that nobody has parsed.
fn check(record: &[u8]) -> bool {
    let alerts = detect(record, &mut Buffers::default()).is_ok_and(|alerts| !alerts.is_empty());
    assert!(may_match(record) || !alerts, "{}", record.escape_ascii());
    // What is cut off alerts, and has no end to which anything could be added.
    let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(record).is_ok();
    assert!(filter(record, &mut Buffers::default()).is_some() || !alerts || !is_json, "{}", record.escape_ascii());
    if let Ok(text) = std::str::from_utf8(record) {
        let mut wrapped = text.to_owned();
        // Each wrapping puts a backslash before quotes, and doubles those that are there.
        for _ in 0..2 {
            wrapped = json!({ "log": wrapped }).to_string();
            assert!(may_match(wrapped.as_bytes()) || !alerts, "{wrapped}");
        }
    }
    alerts
}

#[test]
fn whatever_alerts_may_match() {
    let alerting = RECORDS.iter().filter(|record| check(record.as_bytes())).count();
    let spared = RECORDS.iter().filter(|record| !may_match(record.as_bytes())).count();
    assert!(alerting > 1000 && spared > 100, "{alerting} alert, {spared} are spared");
}

/// What is a letter of a string may be written in another way.
fn escaped(text: &str, at: Index, letters: usize) -> String {
    let mut escaped = String::new();
    let at = at.index(text.len());
    for (n, letter) in text.char_indices() {
        if n >= at && n < at + letters && letter.is_ascii_alphanumeric() {
            escaped.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_alerts_after_changes_may_match(
        record in any::<Index>(),
        escapes in prop::collection::vec((any::<Index>(), 1_usize..10), 0..3),
        changes in prop::collection::vec((any::<Index>(), 0_usize..6, prop::sample::select(vec!["", "\"", "\\", " ", "N", "NodePort", "system:", "\\/", "{", "}"])), 0..3),
    ) {
        let mut text = record.get(&RECORDS).clone();
        for (at, letters) in escapes {
            text = escaped(&text, at, letters);
        }
        let mut bytes = text.into_bytes();
        for (at, length, token) in changes {
            let at = at.index(bytes.len() + 1);
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, token.bytes());
        }
        check(&bytes);
    }

    /// With the escapes within the values that the look is for.
    #[test]
    fn a_value_is_found_however_it_is_written(record in any::<Index>(), value in prop::sample::select(vec!["\"NodePort", "\"system:", "\"aks"]), at in any::<Index>(), letters in 1_usize..10) {
        let text = record.get(&RECORDS);
        let written = escaped(&value[1..], at, letters);
        check(text.replace(value, &format!("\"{written}")).as_bytes());
        let nested = value.replace('"', "\\\"");
        check(text.replace(&nested, &format!("\\\"{}", written.replace('\\', "\\\\"))).as_bytes());
    }
}
