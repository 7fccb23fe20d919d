//! The alert that a match becomes. The host and the components that contain the rules share this crate, so that both
//! write the same alert.

mod annotate;
mod context;
mod identity;
mod text;

use std::fmt;

use portcullis_event::Event;
use serde::{Deserialize, Serialize};

pub use annotate::{annotated, unannotated, with_alerts};
pub use context::{ContextText, readable_context};
use identity::period;
pub use identity::{compact_json, hex, id_of};
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

/// The properties that all alerts of one version of a rule share. Most come from its spec.
#[derive(Clone, Debug)]
pub struct About {
    /// The rule's id.
    pub rule_id: String,
    /// The rule's version.
    pub rule_version: String,
    /// Severity of a match, unless the rule overrides it.
    pub severity: Severity,
    /// Length of the period in which alerts with equal dedup are one incident, in minutes.
    pub dedup_period_minutes: u32,
    /// MITRE ATT&CK techniques, as `TA0001:T1190`.
    pub mitre: Vec<String>,
    /// URL of further information.
    pub reference: Option<String>,
    /// Steps to investigate the alert.
    pub runbook: Option<String>,
    /// The rule's tags.
    pub tags: Vec<String>,
}

/// A rule's answer on an event that it matches. The context is a JSON object in the form that [`readable_context`]
/// returns, as its members or as its text.
#[derive(Clone, Debug)]
pub struct Answer<C> {
    /// One line for a person.
    pub title: String,
    /// Alerts of one rule with equal dedup are one incident.
    pub dedup: String,
    /// Overrides the spec's severity.
    pub severity: Option<Severity>,
    /// What a person needs to assess the match.
    pub context: C,
}

/// An alert. In JSON it is one line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert<C = ContextText> {
    /// Identifies the alert, however its record was delivered: 32 hexadecimal digits of a hash of tenant, rule id,
    /// dedup and the [event's identity](Event::identity).
    pub alert_id: String,
    /// The rule's id.
    pub rule_id: String,
    /// The version of the rule that matched.
    pub rule_version: String,
    /// Severity: the rule's for this event if it has one, else the spec's.
    pub severity: Severity,
    /// One line for a person.
    pub title: String,
    /// Alerts of one rule with equal dedup are one incident.
    pub dedup: String,
    /// Length of the period in which alerts with equal dedup are one incident, in minutes.
    pub dedup_period_minutes: u32,
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
    pub context: C,
    /// MITRE ATT&CK techniques, as `TA0001:T1190`.
    pub mitre: Vec<String>,
    /// URL of further information.
    pub reference: Option<String>,
    /// Steps to investigate the alert.
    pub runbook: Option<String>,
    /// The rule's tags.
    pub tags: Vec<String>,
}

impl Alert {
    /// Returns the approximate length of its texts in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let lists = self.mitre.iter().chain(&self.tags).map(|text| text.len() + 4).sum::<usize>();
        let constant = self.rule_id.len() + self.tenant.len() + of(&self.reference) + of(&self.runbook) + lists;
        // The others are a few hundred bytes.
        512 + self.title.len() + self.dedup.len() + self.context.as_str().len() + constant
    }
}

impl<C> Alert<C> {
    /// Returns the alert for a rule's answer on an event.
    #[must_use]
    pub fn new(about: About, answer: Answer<C>, event: &Event<'_>, tenant: &str) -> Self {
        let period = period(event.event_time.as_deref(), about.dedup_period_minutes);
        let (rule_id, dedup) = (about.rule_id.as_bytes(), answer.dedup.as_bytes());
        Self {
            alert_id: id_of(&[tenant.as_bytes(), rule_id, dedup, &event.identity()]),
            incident_id: id_of(&[tenant, &about.rule_id, &answer.dedup, &*period].map(str::as_bytes)),
            rule_id: about.rule_id,
            rule_version: about.rule_version,
            severity: answer.severity.unwrap_or(about.severity),
            title: answer.title,
            dedup: answer.dedup,
            dedup_period_minutes: about.dedup_period_minutes,
            tenant: tenant.to_owned(),
            cluster: event.cluster.as_ref().map(ToString::to_string),
            log_type: event.log_type.as_str(),
            event_time: event.event_time.as_ref().map(ToString::to_string),
            audit_id: event.audit_id.as_ref().map(ToString::to_string),
            context: answer.context,
            mitre: about.mitre,
            reference: about.reference,
            runbook: about.runbook,
            tags: about.tags,
        }
    }
}
