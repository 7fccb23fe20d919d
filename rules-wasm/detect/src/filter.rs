//! A record on its way through a log pipeline.

use std::borrow::Cow;

use portcullis_alert::Alert;
use portcullis_event::json::{self, Read};

use crate::annotate::{with_member, without_member};
use crate::{Buffers, Context, Ignored, Unjudged, detect, may_match};

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
    let alerts = alerts(text, buffers)?;
    let own = without_member(text)?;
    // An alert's id may be made of all of the record, of which what was once said about it is no part.
    let alerts = match &own {
        Cow::Borrowed(_) => alerts,
        Cow::Owned(own) => self::alerts(own, buffers)?,
    };
    with_member(own, &alerts)
}

/// The alerts of a record or of the text in it, if there are some.
fn alerts(record: &str, buffers: &mut Buffers) -> Option<Vec<Alert<Context>>> {
    let alerts = match detect(record.as_bytes(), buffers) {
        Err(Unjudged::Ignored(Ignored::Shape)) => detect(inside(record)?.as_bytes(), buffers),
        judged => judged,
    };
    alerts.ok().filter(|alerts| !alerts.is_empty())
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
