//! Azure resource logs of AKS clusters, which contain an audit event in `properties.log`.

use super::audit;
use super::buffers::Inside;
use super::outcome::Rejected;
use crate::event::Event;
use crate::json::{self, Document, Names, Value, cut, unescape};
use crate::scan::Tokens;

/// The members of an audit event that is not at the top of its record.
static FIELDS: Names<'_, { audit::FIELDS.len() }> = Names::new(audit::FIELDS);

/// Fills in an event from `properties.log`, which is an object or JSON text. The text is unescaped into a buffer.
/// `properties` may be JSON text too.
pub(crate) fn fill<'a>(
    event: &mut Event<'a>,
    properties: Option<Value<'a, '_>>,
    inside: &'a mut Inside,
) -> Result<(), Rejected> {
    const PLACE: &str = "properties.log";
    let rejected = |what: &str| Err(Rejected::NoAuditEvent(what.to_owned()));
    let Inside { properties: outer, text, closed, tokens } = inside;
    if let Some(string) = properties.and_then(Value::string) {
        // Some exports write this. Event Hubs and storage accounts never do.
        let outer: &'a str = unescape(string.text, outer);
        let mut tokens_of_outer = Tokens::default();
        let document = Document::read(outer, &mut tokens_of_outer);
        let log = document.as_ref().and_then(|document| document.value().named(&const { Names::new(["log"]) }));
        return match log {
            Some([log]) => audit_text(event, PLACE, log, text, closed, tokens),
            None => rejected("properties is not an object"),
        };
    }
    let Some([log]) = properties.and_then(|properties| properties.named(&const { Names::new(["log"]) })) else {
        return rejected("properties is not an object");
    };
    audit_text(event, PLACE, log, text, closed, tokens)
}

/// Fills in an event from the member `log`.
fn audit_text<'a>(
    event: &mut Event<'a>,
    place: &'static str,
    log: Option<Value<'a, '_>>,
    text: &'a mut Vec<u8>,
    closed: &'a mut String,
    tokens: &mut Tokens,
) -> Result<(), Rejected> {
    let rejected = |what: &str| Err(Rejected::NoAuditEvent(what.to_owned()));
    let Some(log) = log else { return rejected("there is none") };
    if let Some(fields) = log.named(&FIELDS) {
        audit::fill(event, place, &fields);
        return Ok(());
    }
    let Some(string) = log.string() else {
        return rejected("it is neither text nor an object");
    };
    // Azure adds a line feed.
    let string = string.text.strip_suffix(r"\n").filter(|rest| rest.ends_with('}')).unwrap_or(string.text);
    let text = unescape(string, text);
    if let Some(document) = Document::read(text, tokens)
        && let Some(fields) = document.value().named(&FIELDS)
    {
        audit::fill(event, place, &fields);
        return Ok(());
    }
    if cut::close(text, closed).is_some()
        && let Some(document) = Document::read(closed, tokens)
        && let Some(fields) = document.value().named(&FIELDS)
    {
        if !audit::is_recognizable(&fields) {
            return rejected("it is cut off, and its complete part is not an audit event");
        }
        audit::fill(event, place, &fields);
        event.note_cut_off();
        return Ok(());
    }
    Err(Rejected::NoAuditEvent(json::not_an_object(text).to_string()))
}
