//! Checks of everything that the project writes.

use jiff::Timestamp;
use portcullis::alert::{TextStyle, printable};
use portcullis::incidents::Incident;
use portcullis::package::Spec;
use portcullis::{Alert, ocsf};
use serde_json::Value;

/// The current time of all runs, which must not depend on the machine's clock.
pub(super) const NOW: Timestamp = Timestamp::constant(1_900_000_000, 0);

/// The styles with the fewest and with the most parts.
const STYLES: [TextStyle; 2] = [
    TextStyle { color: false, details: false, runbook: false },
    TextStyle { color: true, details: true, runbook: true },
];

/// Checks that a line is one JSON object, and returns it.
pub(super) fn json_line(line: &str) -> Value {
    assert!(!line.as_bytes().contains(&b'\n') && !line.as_bytes().contains(&b'\r'), "more than one line: {line}");
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(value.is_object(), "not an object: {line}");
    value
}

/// Checks an alert in each output format.
pub(super) fn check_alert(alert: &Alert, spec: &Spec) {
    let value = json_line(&serde_json::to_string(alert).expect("an alert is JSON"));
    for (name, expected) in [("alert_id", &alert.alert_id), ("title", &alert.title), ("dedup", &alert.dedup)] {
        assert_eq!(value[name], **expected, "{name}");
    }
    let finding = json_line(&ocsf::finding(alert, spec, NOW).to_string());
    assert_eq!(finding["class_uid"], 2004);
    check_text(|style| alert.text(style));
}

/// Checks an incident in each output format.
pub(super) fn check_incident(incident: &Incident, spec: &Spec) {
    let value = json_line(&serde_json::to_string(incident).expect("an incident is JSON"));
    assert_eq!(value["count"], incident.count);
    json_line(&ocsf::incident(incident, spec, NOW).to_string());
    check_text(|style| incident.text(style));
}

/// Checks that a text for a person has no control characters except those of its own colors.
fn check_text(text: impl Fn(TextStyle) -> String) {
    for style in STYLES {
        let mut text = text(style);
        assert!(text.ends_with('\n'), "{text:?}");
        if style.color {
            text = without_colors(&text);
        }
        for line in text.split('\n') {
            assert_eq!(printable(line), line);
        }
    }
}

/// Removes the sequences that select colors, `ESC [ numbers m`.
fn without_colors(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let plain = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        text + plain.strip_prefix('m').expect("an escape sequence selects a color")
    })
}
