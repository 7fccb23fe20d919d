//! A raw record's outcome: which kind of record it is, and whether it becomes an event.

use std::fmt;

use serde::de::IgnoredAny;

use crate::json::{self, Members, RawValue, Read};
use crate::{Event, LogType, SourceScope, Text, audit, cloud_audit, enrichment};

/// What becomes of a record; each has exactly one of the three.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// It is a Kubernetes audit event: this one.
    Evaluated(Box<Event<'a>>),
    /// It is valid JSON and no Kubernetes audit event.
    Ignored(Ignored),
    /// It cannot be read, which somebody should know.
    Rejected(Rejected),
}

/// Why a record is no Kubernetes audit event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// `p_log_type` names another log type, or is no text.
    LogType(String),
    /// An Azure record of another category, or of none.
    Category(Option<String>),
    /// A Google record of another service, or of none.
    Service(Option<String>),
    /// A document of CloudWatch with messages of another log stream.
    LogStream(String),
    /// No `p_log_type`, and no shape of one.
    Shape,
}

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Not UTF-8, from this byte on.
    NotUtf8 {
        /// The byte's place in the record, from 0.
        at: usize,
    },
    /// Nothing but white space.
    Empty,
    /// Longer than its reader takes.
    TooLong {
        /// Its length in bytes.
        length: u64,
        /// The most that is taken.
        max: usize,
    },
    /// Not JSON: the parser's message.
    NotJson(String),
    /// JSON, but no object.
    NotAnObject,
    /// An Azure record whose `properties.log` is not a JSON object: what is wrong with it.
    NoAuditEvent(String),
}

impl fmt::Display for Ignored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |name: &Option<String>| name.as_ref().map_or_else(|| "none".to_owned(), |name| format!("{name:?}"));
        match self {
            Self::LogType(other) => write!(formatter, "p_log_type is {other}, not a Kubernetes audit log"),
            Self::Category(category) => {
                write!(formatter, "category is {}, not kube-audit or kube-audit-admin", named(category))
            }
            Self::Service(service) => {
                write!(formatter, "protoPayload.serviceName is {}, not k8s.io", named(service))
            }
            Self::LogStream(stream) => write!(formatter, "logStream is {stream:?}, not a kube-apiserver-audit stream"),
            Self::Shape => formatter.write_str("not the shape of a Kubernetes audit record of EKS, AKS or GKE"),
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 { at } => write!(formatter, "not UTF-8 at byte {at}"),
            Self::Empty => formatter.write_str("nothing where a record should be"),
            Self::TooLong { length, max } => write!(formatter, "{length} bytes long, and {max} is the most"),
            Self::NotJson(error) => write!(formatter, "not JSON: {error}"),
            Self::NotAnObject => formatter.write_str("not a JSON object"),
            Self::NoAuditEvent(what) => write!(formatter, "properties.log is not a JSON object: {what}"),
        }
    }
}

/// The members of a record that tell what it is and hold what surrounds the audit event.
const ENVELOPE: [&str; 12] = [
    "p_log_type",
    "p_source_label",
    "p_enrichment",
    "kind",
    "apiVersion",
    "category",
    "properties",
    "time",
    "protoPayload",
    "resource",
    "timestamp",
    "insertId",
];

const ENVELOPE_AND_AUDIT: [&str; ENVELOPE.len() + audit::FIELDS.len()] = json::joined(&ENVELOPE, &audit::FIELDS);

/// Whose names a record's fields have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Panther, which says so in `p_log_type`.
    Panther,
    /// The cloud itself.
    Cloud,
}

/// Decides a record's outcome.
///
/// The event borrows from the record, and from `buffer` where AKS holds the audit event as text in `properties.log`;
/// the buffer's old content is discarded.
#[must_use]
pub fn normalize<'a>(record: &'a [u8], buffer: &'a mut String) -> Outcome<'a> {
    let text = match std::str::from_utf8(record) {
        Ok(text) => text,
        Err(error) => {
            return Outcome::Rejected(Rejected::NotUtf8 { at: error.valid_up_to() });
        }
    };
    let members = match json::members(text, ENVELOPE_AND_AUDIT) {
        Ok(members) => members,
        Err(error) => return Outcome::Rejected(not_an_object(text, &error)),
    };
    let [
        log_type,
        label,
        p_enrichment,
        kind,
        api_version,
        category,
        properties,
        time,
        payload,
        resource,
        timestamp,
        insert_id,
        fields @ ..,
    ] = members;

    let (log_type, writer) = match known_log_type(log_type) {
        Ok(Some(log_type)) => (log_type, Writer::Panther),
        Ok(None) => match log_type_of_shape(kind, api_version, category, payload) {
            Some(log_type) => (log_type, Writer::Cloud),
            None => return Outcome::Ignored(Ignored::Shape),
        },
        Err(ignored) => return Outcome::Ignored(ignored),
    };
    let mut event = match log_type {
        LogType::Eks => audit::event(log_type, "", fields),
        LogType::Aks => {
            if let Err(category) = audit_category(category) {
                return Outcome::Ignored(Ignored::Category(category));
            }
            match azure_audit_event(properties, buffer) {
                Ok(fields) => {
                    let event = audit::event(log_type, "properties.log", fields);
                    Event { event_time: event.event_time.clone().or_else(|| json::text(time).present()), ..event }
                }
                Err(rejected) => return Outcome::Rejected(rejected),
            }
        }
        LogType::Gke => match cloud_audit::service(payload) {
            Ok(payload) => Event {
                event_time: json::text(timestamp).present(),
                audit_id: json::text(insert_id).present(),
                ..cloud_audit::event(payload, writer)
            },
            Err(service) => return Outcome::Ignored(Ignored::Service(service.map(|name| name.to_string()))),
        },
    };
    let field = if log_type == LogType::Gke { "callerIP" } else { "sourceIPs" };
    event.asn = enrichment::asn(p_enrichment, field);
    event.source_scope = SourceScope::of(event.source_ips.iter().map(|address| &**address));
    event.cluster = json::text(label).present();
    if log_type == LogType::Gke && event.cluster.is_none() {
        event.cluster = cluster_label(resource);
    }
    Outcome::Evaluated(Box::new(event))
}

/// Why a text that holds no JSON object is rejected.
fn not_an_object(text: &str, error: &serde_json::Error) -> Rejected {
    if text.trim_ascii().is_empty() {
        Rejected::Empty
    } else if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        Rejected::NotAnObject
    } else {
        Rejected::NotJson(error.to_string())
    }
}

/// What `p_log_type` says: one of the three, nothing, or something to ignore.
fn known_log_type(raw: Option<&RawValue>) -> Result<Option<LogType>, Ignored> {
    match json::text(raw) {
        Read::Absent => Ok(None),
        Read::Present(name) => match LogType::named(&name) {
            Some(log_type) => Ok(Some(log_type)),
            None => Err(Ignored::LogType(format!("{:?}", &*name))),
        },
        Read::Malformed => Err(Ignored::LogType("no text".to_owned())),
    }
}

fn log_type_of_shape(
    kind: Option<&RawValue>,
    api_version: Option<&RawValue>,
    category: Option<&RawValue>,
    payload: Option<&RawValue>,
) -> Option<LogType> {
    let is = |raw, expected: fn(&str) -> bool| json::text(raw).present().is_some_and(|text| expected(&text));
    if is(kind, |kind| kind == "Event") && is(api_version, |version| version.starts_with("audit.k8s.io/")) {
        Some(LogType::Eks)
    } else if audit_category(category).is_ok() {
        Some(LogType::Aks)
    } else if payload.is_some_and(|payload| payload.get().starts_with('{')) {
        Some(LogType::Gke)
    } else {
        None
    }
}

/// Whether an Azure category holds audit events, else its name.
fn audit_category(raw: Option<&RawValue>) -> Result<(), Option<String>> {
    match json::text(raw).present() {
        Some(category) if category == "kube-audit" || category == "kube-audit-admin" => Ok(()),
        other => Err(other.map(|category| category.to_string())),
    }
}

/// The audit event in `properties.log`: JSON text, which is unescaped into the buffer, or an object.
fn azure_audit_event<'a>(
    properties: Option<&'a RawValue>,
    buffer: &'a mut String,
) -> Result<Members<'a, { audit::FIELDS.len() }>, Rejected> {
    let rejected = |what: &str| Err(Rejected::NoAuditEvent(what.to_owned()));
    let Read::Present([log]) = json::object(properties, ["log"]) else {
        return rejected("properties is no object");
    };
    let text = match log.map(RawValue::get) {
        None => return rejected("there is none"),
        Some(object) if object.starts_with('{') => object,
        Some(escaped) if escaped.starts_with('"') => {
            *buffer = json::unescape(escaped).unwrap_or_default();
            buffer
        }
        Some(_) => return rejected("it is neither text nor an object"),
    };
    json::members(text, audit::FIELDS).map_err(|error| Rejected::NoAuditEvent(error.to_string()))
}

/// The cluster's name in a Google log entry's monitored resource.
fn cluster_label(resource: Option<&RawValue>) -> Option<Text<'_>> {
    let [labels] = json::object(resource, ["labels"]).present()?;
    let [name] = json::object(labels, ["cluster_name"]).present()?;
    json::text(name).present()
}
