//! A record on its way through a log pipeline.

use portcullis_event::json::{self, Read};

use crate::{Buffers, Ignored, Unjudged, annotated, detect, may_match};

/// The record with its alerts, if it has some.
///
/// Log shippers that parse nothing put what they read into a text, `log` or `message`: if the record itself is
/// nobody's audit event, that text may be one.
#[must_use]
pub fn filter(record: &[u8], buffers: &mut Buffers) -> Option<String> {
    if !may_match(record) {
        return None;
    }
    let text = std::str::from_utf8(record).ok()?;
    let alerts = match detect(record, buffers) {
        Err(Unjudged::Ignored(Ignored::Shape)) => detect(inside(text)?.as_bytes(), buffers),
        judged => judged,
    };
    let alerts = alerts.ok().filter(|alerts| !alerts.is_empty())?;
    annotated(text, &alerts)
}

/// The text in a record that no input has parsed.
fn inside(record: &str) -> Option<String> {
    let members = json::members(record, ["log", "message"]).ok()?;
    members.into_iter().find_map(|member| match json::text(member) {
        Read::Present(text) => Some(text.to_string()),
        // Parsed, and kept where it was.
        _ => member.map(|member| member.get().to_owned()).filter(|member| member.starts_with('{')),
    })
}
