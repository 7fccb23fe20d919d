//! What a match becomes on its way out: the same alert whoever asked the rule, the host or a component that holds the
//! rules itself.

mod annotate;
mod context;
mod identity;
mod text;

use std::fmt;

use portcullis_event::Event;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use annotate::{annotated, unannotated, with_alerts};
pub use context::readable_context;
use identity::period;
pub use identity::{hex, id_of, without_space};
pub use text::{Text, TextStyle, printable, readable};

/// The tenant whose all records are where nobody says otherwise.
pub const DEFAULT_TENANT: &str = "default";

/// How bad a match is, in Panther's five steps; as JSON in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all(serialize = "lowercase"))]
#[expect(missing_docs, reason = "the names say it")]
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

/// What a rule's spec says about all of its alerts.
#[derive(Clone, Debug)]
pub struct About {
    /// The rule.
    pub rule_id: String,
    /// Its version.
    pub rule_version: String,
    /// How bad a match is, unless the rule says otherwise of one.
    pub severity: Severity,
    /// For how long alerts with equal dedup are one incident.
    pub dedup_period_minutes: u32,
    /// Techniques of MITRE ATT&CK.
    pub mitre: Vec<String>,
    /// Where to read more.
    pub reference: Option<String>,
    /// What to do.
    pub runbook: Option<String>,
    /// The rule's tags.
    pub tags: Vec<String>,
}

/// What a rule says of one event. The context is a JSON object that [readers take](readable_context), as its members or as
/// its text.
#[derive(Clone, Debug)]
pub struct Answer<C> {
    /// One line for a person.
    pub title: String,
    /// Alerts of one rule with equal dedup are one incident.
    pub dedup: String,
    /// How bad it is, where that is not what the spec says.
    pub severity: Option<Severity>,
    /// What a person needs to judge it.
    pub context: C,
}

/// An alert; as JSON, one line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert<C = Map<String, Value>> {
    /// The same for the same event, rule and tenant: 32 hexadecimal digits of a hash of tenant, rule id, dedup key and the
    /// [event's identity](Event::identity), whoever carried its record.
    pub alert_id: String,
    /// The rule.
    pub rule_id: String,
    /// The version of the rule that matched.
    pub rule_version: String,
    /// How bad it is: the rule's word on this event, else its spec's.
    pub severity: Severity,
    /// One line for a person.
    pub title: String,
    /// Alerts of one rule with equal dedup are one incident.
    pub dedup: String,
    /// For how long they are, in minutes.
    pub dedup_period_minutes: u32,
    /// The same for all alerts of one rule and tenant with equal dedup whose events are of the same period, whoever raised them:
    /// 32 hexadecimal digits of a hash. Periods are counted from 1970; events without a time are of one of their own.
    pub incident_id: String,
    /// Whose event it was.
    pub tenant: String,
    /// The cluster, by the name that its log source has.
    pub cluster: Option<String>,
    /// The kind of record.
    pub log_type: &'static str,
    /// When the request was received, as the record has it.
    pub event_time: Option<String>,
    /// The record's identity; a client can set it.
    pub audit_id: Option<String>,
    /// What a person needs to judge it.
    pub context: C,
    /// Techniques of MITRE ATT&CK, as `TA0001:T1190`.
    pub mitre: Vec<String>,
    /// Where to read more.
    pub reference: Option<String>,
    /// What to do.
    pub runbook: Option<String>,
    /// The rule's tags.
    pub tags: Vec<String>,
}

impl<C> Alert<C> {
    /// The alert of a rule's answer on an event.
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
