//! Lines of the input with their alerts in them.

use portcullis::Alert;
use serde_json::Value;

/// Returns a line with its alerts. A line that is not an object becomes an object with the line's text as `message`.
pub(crate) fn annotated(line: &[u8], alerts: &[&Alert]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    let alerts = || alerts.iter().copied();
    portcullis::alert::annotated(&text, alerts()).or_else(|| {
        let message = Value::from(&*text);
        portcullis::alert::annotated(&format!("{{\"message\":{message}}}"), alerts())
    })
}
