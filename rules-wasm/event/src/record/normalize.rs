//! Normalization: deciding a record's outcome, and filling in its event.

use super::buffers::{Again, Buffers, Inside, Layer};
use super::category::audit_category;
use super::kind::{known_log_type, log_type_of_shape, says_nothing_else};
use super::outcome::{Ignored, Outcome, Rejected};
use super::rejection::{not_an_object, not_utf8};
use super::tables::{self, Row};
use super::writer::Writer;
use super::{audit, azure, enrichment, google};
use crate::address::SourceScope;
use crate::event::{Event, LogType};
use crate::json::{self, Document, Names, Value, cut, text_of, utf8};

/// The members of a record outside the audit event, roughly in the order in which clouds write them.
const OUTER: [&str; 12] = [
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

static OUTER_AND_AUDIT: Names<'_, { OUTER.len() + audit::FIELDS.len() }> =
    Names::new(json::joined(&OUTER, &audit::FIELDS));

/// Decides a record's outcome.
///
/// The event borrows from the record, and from the buffers if the audit event is text in AKS's `properties.log`. The
/// buffers' old content is discarded.
#[must_use]
pub fn normalize<'a>(record: &'a [u8], buffers: &'a mut Buffers) -> Outcome<'a> {
    normalize_as(record, None, buffers)
}

/// [`normalize`] for a record whose envelope says what it is: an item of an API server's `EventList` has neither `kind`
/// nor `apiVersion`. The record's own members take precedence over `known`.
#[must_use]
pub fn normalize_as<'a>(record: &'a [u8], known: Option<LogType>, buffers: &'a mut Buffers) -> Outcome<'a> {
    normalize_or_read(record, known, buffers).unwrap_or(Outcome::Ignored(Ignored::Shape))
}

/// A JSON object that is no record, and may be the envelope of some.
#[derive(Debug)]
pub struct Envelope<'a>(Document<'a, 'a>);

impl<'a> Envelope<'a> {
    /// Its text, which may have white space around it.
    pub(crate) fn text(&self) -> &'a str {
        self.0.text()
    }

    /// The object.
    pub(crate) fn value(&self) -> Value<'a, '_> {
        self.0.value()
    }
}

/// [`normalize_as`] for a text that may be an envelope.
///
/// # Errors
/// The text is an object of unknown shape ([`Ignored::Shape`]). A search for the records in it need not read it again.
#[inline]
pub fn normalize_or_read<'a>(
    record: &'a [u8],
    known: Option<LogType>,
    buffers: &'a mut Buffers,
) -> Result<Outcome<'a>, Envelope<'a>> {
    let Some(text) = utf8(record) else {
        return Ok(Outcome::Rejected(not_utf8(record)));
    };
    if !Document::read(text, &mut buffers.record).is_some_and(|document| document.value().is_object()) {
        return Ok(of_cut(text, known, buffers).unwrap_or_else(|| Outcome::Rejected(not_an_object(text))));
    }
    let Buffers { record, row, inside, .. } = buffers;
    let document = Document::known(text, record);
    match of_object(document.value(), known, Some(row), inside) {
        Outcome::Ignored(Ignored::Shape) => Err(Envelope(document)),
        outcome => Ok(outcome),
    }
}

/// [`normalize_as`] for an object that was read as a part of a larger text.
pub(crate) fn normalize_value<'a>(
    object: Value<'a, '_>,
    known: Option<LogType>,
    buffers: &'a mut Buffers,
) -> Outcome<'a> {
    of_object(object, known, Some(&mut buffers.row), &mut buffers.inside)
}

/// Decides the outcome of a text that is not JSON. If its end is missing, its complete part may be an event. If not,
/// the string in which the text ends may contain one, as in a record that contains its event as text.
#[cold]
pub(crate) fn of_cut<'a>(text: &str, known: Option<LogType>, buffers: &'a mut Buffers) -> Option<Outcome<'a>> {
    let Buffers { record: tokens, closed, row, inside, again } = buffers;
    cut::close(text, closed)?;
    let document = Document::read(closed, tokens).filter(|document| document.value().is_object())?;
    let first = of_object(document.value(), known, Some(row), inside);
    let mut of_string = |again: &'a mut Option<Box<Again>>| {
        let Again { closed, row, inside } = &mut **again.get_or_insert_default();
        cut::close_string(text, closed)?;
        let document = Document::read(closed, tokens)?;
        Some(of_object(document.value(), known, Some(row), inside))
    };
    Some(match first {
        Outcome::Evaluated(event) => cut_off(event),
        other => match (of_string(again), other) {
            (Some(Outcome::Evaluated(event)), _) => cut_off(event),
            (_, Outcome::Ignored(Ignored::Shape) | Outcome::Rejected(Rejected::NoAuditEvent(_))) => {
                Outcome::Rejected(Rejected::CutOff)
            }
            (_, other) => other,
        },
    })
}

/// Returns the outcome of a record whose end is missing.
fn cut_off(mut event: Box<Event<'_>>) -> Outcome<'_> {
    event.note_cut_off();
    Outcome::Evaluated(event)
}

/// Decides the outcome of an object.
fn of_object<'a>(
    object: Value<'a, '_>,
    known: Option<LogType>,
    row: Option<&'a mut Layer>,
    inside: &'a mut Inside,
) -> Outcome<'a> {
    let members = object.named(&OUTER_AND_AUDIT).unwrap_or_default();
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
            (of_shape.or_else(|| known.filter(|_| says_nothing_else(object, kind, api_version))), Writer::Cloud)
        }
        Err(ignored) => return Outcome::Ignored(ignored),
    };
    let log_type = match log_type {
        Some(LogType::Eks) => LogType::Eks,
        Some(LogType::Aks) if properties.is_some() => LogType::Aks,
        Some(LogType::Gke) if payload.is_some() => LogType::Gke,
        other => return of_row(object, other, row, inside),
    };
    let mut event = Box::new(Event::new(log_type));
    match log_type {
        LogType::Eks => audit::fill(&mut event, "", &fields),
        LogType::Aks => {
            if let Err(category) = audit_category(category) {
                return Outcome::Ignored(Ignored::Category(category));
            }
            if let Err(rejected) = azure::fill(&mut event, properties, inside) {
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
        event.cluster = google::cluster(resource);
    }
    Outcome::Evaluated(event)
}

/// Decides the outcome of an object that is not a record as its cloud sends it. A row of a table is made a record
/// first.
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
    // The record that was made from a row is not a row again.
    match Document::read(text, tokens).map(|document| of_object(document.value(), None, None, inside)) {
        Some(Outcome::Evaluated(event)) if was_cut => cut_off(event),
        Some(outcome) => outcome,
        None => Outcome::Ignored(Ignored::Shape),
    }
}
