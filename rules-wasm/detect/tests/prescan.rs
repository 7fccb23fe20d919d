//! The scan of a record's bytes never misses a record that alerts.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use portcullis_detect::{Buffers, detect, filter, may_match};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

static RECORDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/parity/events.ndjson");
    fs::read_to_string(file).expect("the parity records are readable").lines().map(ToOwned::to_owned).collect()
});

/// Checks that the scan does not miss the record, alone or in envelopes. Returns whether the record alerts.
fn check(record: &[u8]) -> bool {
    let alerts = detect(record, &mut Buffers::default()).is_ok_and(|alerts| !alerts.is_empty());
    assert!(may_match(record) || !alerts, "{}", record.escape_ascii());
    // A record that is cut off can alert, but the filter cannot add a member to it.
    let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(record).is_ok();
    assert!(filter(record, &mut Buffers::default()).is_some() || !alerts || !is_json, "{}", record.escape_ascii());
    if let Ok(text) = std::str::from_utf8(record) {
        let mut envelope = text.to_owned();
        // Each envelope adds a backslash before quotes, and doubles existing backslashes.
        for _ in 0..2 {
            envelope = json!({ "log": envelope }).to_string();
            assert!(may_match(envelope.as_bytes()) || !alerts, "{envelope}");
        }
    }
    alerts
}

#[test]
fn every_record_that_alerts_may_match() {
    let alerting = RECORDS.iter().filter(|record| check(record.as_bytes())).count();
    let skipped = RECORDS.iter().filter(|record| !may_match(record.as_bytes())).count();
    assert!(alerting > 1000 && skipped > 100, "{alerting} records alert, {skipped} are skipped");
}

/// Writes some letters of a text as Unicode escapes.
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
    fn every_changed_record_that_alerts_may_match(
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

    /// Escapes letters within the values that the scan searches for.
    #[test]
    fn an_escaped_value_may_match(record in any::<Index>(), value in prop::sample::select(vec!["\"NodePort", "\"system:", "\"aks"]), at in any::<Index>(), letters in 1_usize..10) {
        let text = record.get(&RECORDS);
        let written = escaped(&value[1..], at, letters);
        check(text.replace(value, &format!("\"{written}")).as_bytes());
        let nested = value.replace('"', "\\\"");
        check(text.replace(&nested, &format!("\\\"{}", written.replace('\\', "\\\\"))).as_bytes());
    }
}
