//! What becomes of a record, and why.

use std::fmt;

use crate::event::Event;

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
    /// A record of something else that is known by its shape, such as AWS CloudTrail: its name.
    Other(&'static str),
    /// No `p_log_type`, and no shape of one.
    Shape,
    /// Nothing that is known by its shape, and yet its text speaks of Kubernetes audit logs: perhaps it holds an audit
    /// event in a form that nobody knows.
    Suspect {
        /// Why it is ignored.
        reason: Box<Ignored>,
        /// What stands in its text.
        marker: &'static str,
    },
}

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Not UTF-8, from this byte on.
    NotUtf8 {
        /// The byte's place in the record, from 0.
        at: usize,
    },
    /// UTF-16.
    Utf16,
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
    /// JSON whose end is missing, and what is there of it is no audit event.
    CutOff,
    /// Texts in texts, broken in so many places that to search them for records would take too long.
    Tangled,
    /// JSON, but no object.
    NotAnObject,
    /// An Azure record whose `properties.log` is not a JSON object: what is wrong with it.
    NoAuditEvent(String),
}

impl Ignored {
    /// Whether its text speaks of Kubernetes audit logs all the same.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        matches!(self, Self::Suspect { .. })
    }
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
            Self::Other(name) => write!(formatter, "a record of {name}, not of a Kubernetes audit log"),
            Self::Shape => formatter.write_str("not the shape of a Kubernetes audit record of EKS, AKS or GKE"),
            Self::Suspect { reason, marker } => write!(formatter, "{reason}, and yet it has the text {marker}"),
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
            Self::Empty => formatter.write_str("nothing where a record should be"),
            Self::TooLong { length, max } => write!(formatter, "{length} bytes long, and {max} is the most"),
            Self::NotJson(error) => write!(formatter, "not JSON: {error}"),
            Self::CutOff => {
                formatter.write_str("cut off: its end is missing, and what is whole of it is no audit event")
            }
            Self::Tangled => formatter.write_str(
                "texts in texts, broken in so many places that they are not searched for records any further",
            ),
            Self::NotAnObject => formatter.write_str("not a JSON object"),
            Self::NoAuditEvent(what) => write!(formatter, "properties.log is not a JSON object: {what}"),
        }
    }
}
