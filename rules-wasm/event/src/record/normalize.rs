//! A raw record's outcome: which kind of record it is, and whether it becomes an event.

use serde::de::IgnoredAny;

use super::outcome::{Ignored, Outcome, Rejected};
use super::tables::{self, Row};
use super::{audit, enrichment, google, hints};
use crate::address::SourceScope;
use crate::event::{Event, LogType};
use crate::json::{self, Document, Names, Read, Text, Value, cut, text_of, unescape, utf8};
use crate::scan::Tokens;

/// The members of a record that tell what it is and hold what surrounds the audit event, about in the order in which clouds
/// write them.
const ENVELOPE: [&str; 12] = [
    "time",
    "category",
    "properties",
    "protoPayload",
    "insertId",
    "resource",
    "timestamp",
    "p_log_type",
    "p_source_label",
    "p_enrichment",
    "kind",
    "apiVersion",
];

static ENVELOPE_AND_AUDIT: Names<'_, { ENVELOPE.len() + audit::FIELDS.len() }> =
    Names::new(json::joined(&ENVELOPE, &audit::FIELDS));

/// Those of an audit event that stands in a member of its own.
static FIELDS: Names<'_, { audit::FIELDS.len() }> = Names::new(audit::FIELDS);

/// The members of a wrapping that hold its records as a list: `EventList` has `items`, Azure's diagnostics `records`,
/// CloudWatch's subscriptions `logEvents` and its API `events`, Cloud Logging's API `entries`, Pub/Sub's
/// `receivedMessages`. No audit record has a member of these names at its top.
pub const LISTS: [&str; 6] = ["items", "records", "logEvents", "events", "entries", "receivedMessages"];

/// Whose names a record's fields have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Panther, which says so in `p_log_type`.
    Panther,
    /// The cloud itself.
    Cloud,
}

/// The room in which records are read, kept from one to the next.
#[derive(Debug, Default)]
pub struct Buffers {
    record: Tokens,
    /// A record whose end is missing, closed.
    closed: String,
    /// A row of a table, as the record that it was made of.
    row: Layer,
    inside: Inside,
    /// The same, for a second way to close it.
    again: Option<Box<Again>>,
}

#[derive(Debug, Default)]
struct Again {
    closed: String,
    row: Layer,
    inside: Inside,
}

/// A text that was made of another, and its tokens.
#[derive(Debug, Default)]
struct Layer {
    text: String,
    tokens: Tokens,
}

/// An audit event that stands as text in a record.
#[derive(Debug, Default)]
struct Inside {
    /// The members around it, where they too stand as text.
    properties: Vec<u8>,
    text: Vec<u8>,
    closed: String,
    tokens: Tokens,
}

/// Decides a record's outcome.
///
/// The event borrows from the record, and from the buffers, whose old content is discarded: where AKS holds the audit event
/// as text in `properties.log`, that text is there.
#[must_use]
pub fn normalize<'a>(record: &'a [u8], buffers: &'a mut Buffers) -> Outcome<'a> {
    normalize_as(record, None, buffers)
}

/// [`normalize`] for a record whose surroundings say what it is: an item of an API server's `EventList` has neither `kind` nor
/// `apiVersion`. What the record itself says counts first.
#[must_use]
pub fn normalize_as<'a>(record: &'a [u8], known: Option<LogType>, buffers: &'a mut Buffers) -> Outcome<'a> {
    let Some(text) = utf8(record) else {
        return Outcome::Rejected(not_utf8(record));
    };
    if let Some(document) = Document::read(text, &mut buffers.record)
        && document.value().is_object()
    {
        return of_object(&document, known, Some(&mut buffers.row), &mut buffers.inside);
    }
    of_cut(text, known, buffers)
}

/// Decides the outcome of what is not JSON. Where its end is missing, what is whole of it may be an event; or else what is whole
/// of the text in which it ends, as of a record that holds its event as text.
#[cold]
fn of_cut<'a>(text: &str, known: Option<LogType>, buffers: &'a mut Buffers) -> Outcome<'a> {
    let Buffers { record: tokens, closed, row, inside, again } = buffers;
    if cut::close(text, closed).is_none() {
        return Outcome::Rejected(not_an_object(text));
    }
    let first = match Document::read(closed, tokens) {
        Some(document) if document.value().is_object() => of_object(&document, known, Some(row), inside),
        _ => return Outcome::Rejected(not_an_object(text)),
    };
    let mut of_string = |again: &'a mut Option<Box<Again>>| {
        let Again { closed, row, inside } = &mut **again.get_or_insert_default();
        cut::close_string(text, closed)?;
        let document = Document::read(closed, tokens)?;
        Some(of_object(&document, known, Some(row), inside))
    };
    match first {
        Outcome::Evaluated(event) => noted(event),
        other => match (of_string(again), other) {
            (Some(Outcome::Evaluated(event)), _) => noted(event),
            (_, Outcome::Ignored(Ignored::Shape) | Outcome::Rejected(Rejected::NoAuditEvent(_))) => {
                Outcome::Rejected(Rejected::CutOff)
            }
            (_, other) => other,
        },
    }
}

/// An event of a record whose end is missing.
fn noted(mut event: Box<Event<'_>>) -> Outcome<'_> {
    event.note_cut_off();
    Outcome::Evaluated(event)
}

/// Decides the outcome of an object.
fn of_object<'a>(
    document: &Document<'a, '_>,
    known: Option<LogType>,
    row: Option<&'a mut Layer>,
    inside: &'a mut Inside,
) -> Outcome<'a> {
    let members = document.value().named(&ENVELOPE_AND_AUDIT).unwrap_or_default();
    let [
        time,
        category,
        properties,
        payload,
        insert_id,
        resource,
        timestamp,
        log_type,
        label,
        p_enrichment,
        kind,
        api_version,
        fields @ ..,
    ] = members;

    let (log_type, writer) = match known_log_type(log_type) {
        Ok(Some(log_type)) => (Some(log_type), Writer::Panther),
        Ok(None) => {
            let of_shape = log_type_of_shape(kind, api_version, category, payload, &fields);
            (
                of_shape.or_else(|| known.filter(|_| says_nothing_else(document.value(), kind, api_version))),
                Writer::Cloud,
            )
        }
        Err(ignored) => return Outcome::Ignored(ignored),
    };
    let log_type = match log_type {
        Some(LogType::Eks) => LogType::Eks,
        Some(LogType::Aks) if properties.is_some() => LogType::Aks,
        Some(LogType::Gke) if payload.is_some() => LogType::Gke,
        other => return of_row(document.value(), other, row, inside),
    };
    let mut event = Box::new(Event::new(log_type));
    match log_type {
        LogType::Eks => audit::fill(&mut event, "", &fields),
        LogType::Aks => {
            if let Err(category) = audit_category(category) {
                return Outcome::Ignored(Ignored::Category(category));
            }
            if let Err(rejected) = azure_audit_event(&mut event, properties, inside) {
                return Outcome::Rejected(rejected);
            }
            if event.event_time.is_none() {
                event.event_time = text_of(time);
            }
        }
        LogType::Gke => {
            if let Err(service) = google::fill(&mut event, payload, writer) {
                return Outcome::Ignored(Ignored::Service(service.map(|name| name.to_string())));
            }
            event.event_time = text_of(timestamp);
            event.audit_id = text_of(insert_id);
        }
    }
    let field = if log_type == LogType::Gke { "callerIP" } else { "sourceIPs" };
    event.asn = enrichment::asn(p_enrichment, field);
    event.source_scope = SourceScope::of(event.source_ips.iter().map(|address| &**address));
    event.cluster = text_of(label);
    if log_type == LogType::Gke && event.cluster.is_none() {
        event.cluster = cluster_label(resource);
    }
    Outcome::Evaluated(event)
}

/// Decides the outcome of what is no record as its writer sent it: a table's row by the record that it was made of.
#[cold]
fn of_row<'a>(
    row: Value<'_, '_>,
    log_type: Option<LogType>,
    layer: Option<&'a mut Layer>,
    inside: &'a mut Inside,
) -> Outcome<'a> {
    let Some(layer) = layer else { return tables::no_row(row, log_type) };
    let Layer { text, tokens } = layer;
    let Some(Row { was_cut }) = tables::record_of(row, text) else { return tables::no_row(row, log_type) };
    // What the row was made of is no row.
    match Document::read(text, tokens).map(|document| of_object(&document, None, None, inside)) {
        Some(Outcome::Evaluated(event)) if was_cut => noted(event),
        Some(outcome) => outcome,
        None => Outcome::Ignored(Ignored::Shape),
    }
}

/// Why a text that holds no JSON object is rejected.
fn not_an_object(text: &str) -> Rejected {
    if text.trim_ascii().is_empty() {
        Rejected::Empty
    } else if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        Rejected::NotAnObject
    } else if hints::is_utf16(text.as_bytes()) {
        Rejected::Utf16
    } else {
        let error = json::not_an_object(text).to_string();
        Rejected::NotJson(hints::of(text).map_or(error.clone(), |hint| format!("{error}; {hint}")))
    }
}

/// Why bytes that are no text are rejected.
fn not_utf8(bytes: &[u8]) -> Rejected {
    if hints::is_utf16(bytes) {
        return Rejected::Utf16;
    }
    let at = bytes.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
    Rejected::NotUtf8 { at }
}

/// What `p_log_type` says: one of the three, nothing, or something to ignore.
fn known_log_type(value: Option<Value<'_, '_>>) -> Result<Option<LogType>, Ignored> {
    match json::one_text(value) {
        Read::Absent => Ok(None),
        Read::Present(name) => match LogType::named(&name) {
            Some(log_type) => Ok(Some(log_type)),
            None => Err(Ignored::LogType(format!("{:?}", &*name))),
        },
        Read::Malformed => Err(Ignored::LogType("no text".to_owned())),
    }
}

fn log_type_of_shape(
    kind: Option<Value<'_, '_>>,
    api_version: Option<Value<'_, '_>>,
    category: Option<Value<'_, '_>>,
    payload: Option<Value<'_, '_>>,
    fields: &[Option<Value<'_, '_>>; audit::FIELDS.len()],
) -> Option<LogType> {
    let is = |value, expected: fn(&str) -> bool| text_of(value).is_some_and(|text| expected(&text));
    if is(kind, |kind| kind == "Event") && is(api_version, |version| version.starts_with("audit.k8s.io/")) {
        Some(LogType::Eks)
    } else if audit_category(category).is_ok() {
        Some(LogType::Aks)
    } else if payload.is_some_and(Value::is_object) {
        Some(LogType::Gke)
    } else {
        let is_absent = |value: Option<Value<'_, '_>>| value.is_none_or(Value::is_absent);
        (is_absent(kind) && is_absent(api_version) && audit::is_event(fields)).then_some(LogType::Eks)
    }
}

/// Whether an item of a list of audit events says of itself nothing else than that it is one.
#[cold]
fn says_nothing_else(item: Value<'_, '_>, kind: Option<Value<'_, '_>>, api_version: Option<Value<'_, '_>>) -> bool {
    let allows = |value: Option<Value<'_, '_>>, expected: fn(&str) -> bool| match value {
        Some(value) if !value.is_absent() => text_of(Some(value)).is_some_and(|text| expected(&text)),
        _ => true,
    };
    allows(kind, |kind| kind == "Event")
        && allows(api_version, |version| version.starts_with("audit.k8s.io/"))
        && matches!(tables::no_row(item, None), Outcome::Ignored(Ignored::Shape))
}

/// Whether an Azure category holds audit events, else its name.
pub(crate) fn audit_category(value: Option<Value<'_, '_>>) -> Result<(), Option<String>> {
    match text_of(value) {
        Some(category) if category == "kube-audit" || category == "kube-audit-admin" => Ok(()),
        other => Err(other.map(|category| category.to_string())),
    }
}

/// Fills in the audit event in `properties.log`: JSON text, which is unescaped into a buffer, or an object. `properties` may be
/// JSON text too.
fn azure_audit_event<'a>(
    event: &mut Event<'a>,
    properties: Option<Value<'a, '_>>,
    inside: &'a mut Inside,
) -> Result<(), Rejected> {
    const PLACE: &str = "properties.log";
    let rejected = |what: &str| Err(Rejected::NoAuditEvent(what.to_owned()));
    let Inside { properties: outer, text, closed, tokens } = inside;
    if let Some(string) = properties.and_then(Value::string) {
        // What Event Hubs and storage accounts never write, and some exports do.
        let outer: &'a str = unescape(string.text, outer);
        let mut tokens_of_outer = Tokens::default();
        let document = Document::read(outer, &mut tokens_of_outer);
        let log = document.as_ref().and_then(|document| document.value().named(&const { Names::new(["log"]) }));
        return match log {
            Some([log]) => audit_text(event, PLACE, log, text, closed, tokens),
            None => rejected("properties is no object"),
        };
    }
    let Some([log]) = properties.and_then(|properties| properties.named(&const { Names::new(["log"]) })) else {
        return rejected("properties is no object");
    };
    audit_text(event, PLACE, log, text, closed, tokens)
}

/// Fills in the audit event in a member.
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
    // Azure puts a line feed behind it.
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
            return rejected("it is cut off, and what is whole of it is no audit event");
        }
        audit::fill(event, place, &fields);
        event.note_cut_off();
        return Ok(());
    }
    Err(Rejected::NoAuditEvent(json::not_an_object(text).to_string()))
}

/// The cluster's name in a Google log entry's monitored resource.
fn cluster_label<'a>(resource: Option<Value<'a, '_>>) -> Option<Text<'a>> {
    let [labels] = resource?.named(&const { Names::new(["labels"]) })?;
    let [name] = labels?.named(&const { Names::new(["cluster_name"]) })?;
    text_of(name)
}
