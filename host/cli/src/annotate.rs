//! A line of the input with what the rules said about it.

use portcullis::Alert;
use serde_json::Value;

/// The object that a line is, with its alerts; where the line is something else in which there are records, an object that has
/// its text as `message`.
pub(crate) fn annotated(line: &[u8], alerts: &[&Alert]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    let alerts = || alerts.iter().copied();
    portcullis::alert::annotated(&text, alerts()).or_else(|| {
        let message = Value::from(&*text);
        portcullis::alert::annotated(&format!("{{\"message\":{message}}}"), alerts())
    })
}
