//! The three outcomes of a record, and the reasons for them.

use std::fmt;

use crate::event::Event;

/// The outcome of a record.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// The record is a Kubernetes audit event.
    Evaluated(Box<Event<'a>>),
    /// The record is valid JSON, but not a Kubernetes audit event.
    Ignored(Ignored),
    /// The record cannot be read, which an operator should know.
    Rejected(Rejected),
}

/// The reason why a record is not a Kubernetes audit event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// `p_log_type` is another log type, or not text.
    LogType(String),
    /// An Azure record of another category, or without one.
    Category(Option<String>),
    /// A Google record of another service, or without one.
    Service(Option<String>),
    /// A record of another service that is recognized by its shape, such as AWS CloudTrail: the service's name.
    Other(&'static str),
    /// A record without `p_log_type` and with an unknown shape.
    Shape,
    /// An ignored record whose text mentions Kubernetes audit logs. It may contain an audit event in an unknown form.
    Suspect {
        /// The reason why the record is ignored.
        reason: Box<Ignored>,
        /// The text in the record that mentions them.
        marker: &'static str,
    },
}

/// The reason why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// The record is not UTF-8.
    NotUtf8 {
        /// The place of the first invalid byte, counted from 0.
        at: usize,
    },
    /// The record is UTF-16.
    Utf16,
    /// The record is empty, or only white space.
    Empty,
    /// The record is longer than its reader accepts.
    TooLong {
        /// The record's length in bytes.
        length: u64,
        /// The largest length that is accepted.
        max: usize,
    },
    /// The record is not JSON: the parser's message.
    NotJson(String),
    /// The record's end is missing, and the complete part is not an audit event.
    CutOff,
    /// The document contains nested texts that are broken in so many places that searching them would take too long.
    Tangled,
    /// The record is JSON, but not an object.
    NotAnObject,
    /// `properties.log` of an Azure record is not a JSON object: what is wrong with it.
    NoAuditEvent(String),
}

impl Ignored {
    /// Whether the record's text mentions Kubernetes audit logs.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        matches!(self, Self::Suspect { .. })
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named =
            |name: &Option<String>| name.as_ref().map_or_else(|| "missing".to_owned(), |name| format!("{name:?}"));
        match self {
            Self::LogType(other) => write!(formatter, "p_log_type is {other}, not a Kubernetes audit log"),
            Self::Category(category) => {
                write!(formatter, "category is {}, not kube-audit or kube-audit-admin", named(category))
            }
            Self::Service(service) => {
                write!(formatter, "protoPayload.serviceName is {}, not k8s.io", named(service))
            }
            Self::Other(name) => write!(formatter, "a record of {name}, not of a Kubernetes audit log"),
            Self::Shape => formatter.write_str("not the shape of a Kubernetes audit record of EKS, AKS or GKE"),
            Self::Suspect { reason, marker } => write!(formatter, "{reason}, but its text contains {marker}"),
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 { at } => write!(formatter, "not UTF-8 at byte {at}"),
            Self::Utf16 => formatter.write_str(
                "UTF-16, not UTF-8, as PowerShell's > and Out-File write it: write the file with \
                 Out-File -Encoding utf8, or convert it with iconv -f UTF-16 -t UTF-8",
            ),
            Self::Empty => formatter.write_str("empty; expected a JSON object"),
            Self::TooLong { length, max } => write!(formatter, "{length} bytes long; the limit is {max}"),
            Self::NotJson(error) => write!(formatter, "not JSON: {error}"),
            Self::CutOff => {
                formatter.write_str("cut off: its end is missing, and its complete part is not an audit event")
            }
            Self::Tangled => formatter.write_str(
                "texts are nested and broken in so many places that searching them for records would take too long",
            ),
            Self::NotAnObject => formatter.write_str("not a JSON object"),
            Self::NoAuditEvent(what) => write!(formatter, "properties.log is not a JSON object: {what}"),
        }
    }
}
