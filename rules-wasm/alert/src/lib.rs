//! The alert that a match becomes. The host and the components that contain the rules share this crate, so that both
//! write the same alert.

mod about;
mod annotate;
mod context;
mod identity;
mod text;

use std::fmt;
use std::sync::Arc;

use portcullis_event::Event;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

pub use about::{About, Constant};
pub use annotate::{annotated, unannotated, with_alerts};
pub use context::ContextText;
use identity::period;
pub use identity::{hex, id_of};
pub use text::{Text, TextStyle, is_deceptive, printable, readable};

/// The tenant of all records where no tenants are configured.
pub const DEFAULT_TENANT: &str = "default";

/// Severity of a match, on Panther's scale of five. In JSON it is lower-case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all(serialize = "lowercase"))]
#[expect(missing_docs, reason = "the names are Panther's")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// A rule's answer on an event that it matches.
#[derive(Clone, Debug)]
pub struct Answer {
    /// One line for a person.
    pub title: String,
    /// Alerts of one rule with equal dedup are one incident.
    pub dedup: String,
    /// Overrides the spec's severity.
    pub severity: Option<Severity>,
    /// What a person needs to assess the match.
    pub context: ContextText,
}

/// An alert. In JSON it is one line: these fields, and those of [`About`] in their place.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Identifies the alert, however its record was delivered: 32 hexadecimal digits of a hash of tenant, rule id,
    /// dedup and the [event's identity](Event::identity).
    pub alert_id: String,
    /// The version of the rule that matched.
    pub about: Arc<About>,
    /// Severity: the rule's for this event if it has one, else the spec's.
    pub severity: Severity,
    /// One line for a person.
    pub title: String,
    /// Alerts of one rule with equal dedup are one incident.
    pub dedup: String,
    /// Identifies the incident: 32 hexadecimal digits of a hash of tenant, rule id, dedup and the period of the event's
    /// time. Periods are counted from 1970. Events without a time share one period.
    pub incident_id: String,
    /// The tenant of the event.
    pub tenant: String,
    /// The cluster's name in its log source.
    pub cluster: Option<String>,
    /// The log type, by Panther's name.
    pub log_type: &'static str,
    /// When the API server received the request, as written in the record.
    pub event_time: Option<String>,
    /// The audit id of the record. Clients can set it.
    pub audit_id: Option<String>,
    /// What a person needs to assess the match.
    pub context: ContextText,
}

impl Serialize for Alert {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let about = &*self.about;
        let mut fields = serializer.serialize_struct("Alert", 18)?;
        fields.serialize_field("alert_id", &self.alert_id)?;
        fields.serialize_field("rule_id", &about.rule_id)?;
        fields.serialize_field("rule_version", &about.rule_version)?;
        fields.serialize_field("severity", &self.severity)?;
        fields.serialize_field("title", &self.title)?;
        fields.serialize_field("dedup", &self.dedup)?;
        fields.serialize_field("dedup_period_minutes", &about.dedup_period_minutes)?;
        fields.serialize_field("incident_id", &self.incident_id)?;
        fields.serialize_field("tenant", &self.tenant)?;
        fields.serialize_field("cluster", &self.cluster)?;
        fields.serialize_field("log_type", self.log_type)?;
        fields.serialize_field("event_time", &self.event_time)?;
        fields.serialize_field("audit_id", &self.audit_id)?;
        fields.serialize_field("context", &self.context)?;
        fields.serialize_field("mitre", &about.mitre)?;
        fields.serialize_field("reference", &about.reference)?;
        fields.serialize_field("runbook", &about.runbook)?;
        fields.serialize_field("tags", &about.tags)?;
        fields.end()
    }
}

impl Alert {
    /// Returns the approximate length of its texts in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let About { rule_id, mitre, reference, runbook, tags, .. } = &*self.about;
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let lists = mitre.iter().chain(&**tags).map(|text| text.len() + 4).sum::<usize>();
        let constant = rule_id.len() + self.tenant.len() + of(reference) + of(runbook) + lists;
        // The others are a few hundred bytes.
        512 + self.title.len() + self.dedup.len() + self.context.as_str().len() + constant
    }

    /// Returns the alert for the answer of a version of a rule on an event.
    #[must_use]
    pub fn new(about: Arc<About>, answer: Answer, event: &Event<'_>, tenant: &str) -> Self {
        let period = period(event.event_time.as_deref(), about.dedup_period_minutes);
        let (rule_id, dedup) = (about.rule_id.as_bytes(), answer.dedup.as_bytes());
        Self {
            alert_id: id_of(&[tenant.as_bytes(), rule_id, dedup, &event.identity()]),
            incident_id: id_of(&[tenant, &about.rule_id, &answer.dedup, &*period].map(str::as_bytes)),
            severity: answer.severity.unwrap_or(about.severity),
            title: answer.title,
            dedup: answer.dedup,
            tenant: tenant.to_owned(),
            cluster: event.cluster.as_ref().map(ToString::to_string),
            log_type: event.log_type.as_str(),
            event_time: event.event_time.as_ref().map(ToString::to_string),
            audit_id: event.audit_id.as_ref().map(ToString::to_string),
            context: answer.context,
            about,
        }
    }
}
