//! What the project promises of everything that it writes.

use jiff::Timestamp;
use portcullis::package::Spec;
use portcullis::{Alert, Incident, TextStyle, ocsf, printable};
use serde_json::Value;

/// The time by every clock: no run depends on the machine's.
pub(super) const NOW: Timestamp = Timestamp::constant(1_900_000_000, 0);

/// The least and the most that a text may have.
const STYLES: [TextStyle; 2] = [TextStyle { color: false, runbook: false }, TextStyle { color: true, runbook: true }];

/// The object that is written as one line of JSON, which any reader takes.
pub(super) fn json_line(line: &str) -> Value {
    assert!(!line.as_bytes().contains(&b'\n') && !line.as_bytes().contains(&b'\r'), "not one line: {line}");
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(value.is_object(), "no object: {line}");
    value
}

/// An alert in each form that it is written in.
pub(super) fn check_alert(alert: &Alert, spec: &Spec) {
    let value = json_line(&serde_json::to_string(alert).expect("an alert is JSON"));
    for (name, expected) in [("alert_id", &alert.alert_id), ("title", &alert.title), ("dedup", &alert.dedup)] {
        assert_eq!(value[name], **expected, "{name}");
    }
    let finding = json_line(&ocsf::finding(alert, spec, NOW).to_string());
    assert_eq!(finding["class_uid"], 2004);
    check_text(|style| alert.text(style));
}

/// An incident in each form that it is written in.
pub(super) fn check_incident(incident: &Incident, spec: &Spec) {
    let value = json_line(&serde_json::to_string(incident).expect("an incident is JSON"));
    assert_eq!(value["count"], incident.count);
    json_line(&ocsf::incident(incident, spec, NOW).to_string());
    check_text(|style| incident.text(style));
}

/// A text for a person has nothing in it that steers a terminal but its own colours.
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

/// The text without what selects a colour, `ESC [ numbers m`.
fn without_colors(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let plain = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        text + plain.strip_prefix('m').expect("a colour")
    })
}
