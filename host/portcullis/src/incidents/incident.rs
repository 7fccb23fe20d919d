//! An incident: its alerts, and a summary of them.

use portcullis_alert::{Text, readable};
use portcullis_event::address;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::package::Spec;
use portcullis_alert::{Alert, TextStyle};

/// Limit for the values of one attribute in an incident.
const MAX_VALUES: usize = 100;

/// Limit for a value, in bytes.
const MAX_VALUE: usize = 1_000;

/// Alerts that belong together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Incident {
    /// Its first alert. The JSON contains `alert_id`, `rule_id`, `rule_version`, `severity`, `title`, `dedup` and
    /// `tenant` of it.
    #[serde(flatten, serialize_with = "essentials")]
    pub alert: Alert,
    /// Number of its alerts.
    pub count: u64,
    /// The time of its earliest event, RFC 3339.
    pub first_time: Option<String>,
    /// The time of its latest event, RFC 3339.
    pub last_time: Option<String>,
    /// Distinct values of each of the rule's `SummaryAttributes`, at most 100, in order of arrival.
    pub summary: Map<String, Value>,
    /// The attributes that had more values, or one of more than 1,000 bytes.
    pub summary_cut: Vec<String>,
}

impl Incident {
    /// Returns an incident whose first alert is this one. The alert is not counted yet.
    pub(super) fn of(alert: &Alert, spec: &Spec) -> Self {
        Self {
            alert: alert.clone(),
            count: 0,
            first_time: None,
            last_time: None,
            summary: spec.summary_attributes.iter().map(|name| (name.clone(), Value::Array(Vec::new()))).collect(),
            summary_cut: Vec::new(),
        }
    }

    /// Adds an alert's values of the summary's attributes. Returns the number of bytes that this takes.
    pub(super) fn summarize(&mut self, alert: &Alert) -> usize {
        let Self { summary, summary_cut, .. } = self;
        if summary.is_empty() {
            return 0;
        }
        let context = alert.context.members();
        let mut grown = 0;
        for (name, values) in summary.iter_mut() {
            let Value::Array(values) = values else { continue };
            for value in attribute(alert, &context, name) {
                if values.contains(&value) {
                    continue;
                }
                let length = value.as_str().map_or_else(|| value.to_string().len(), str::len);
                if values.len() < MAX_VALUES && length <= MAX_VALUE {
                    values.push(value);
                    grown += size_of::<Value>() + length;
                } else if !summary_cut.contains(name) {
                    summary_cut.push(name.clone());
                    grown += name.len();
                }
            }
        }
        grown
    }

    /// Returns the incident as text.
    #[must_use]
    pub fn text(&self, style: TextStyle) -> String {
        let mut text = Text::new(style);
        let times = if self.count == 1 { "once".to_owned() } else { format!("{} times", self.count) };
        text.title(self.alert.severity, &format!("incident over, {times}: {}", self.alert.title));
        text.line("rule", &format!("{} {}", self.alert.about.rule_id, self.alert.about.rule_version));
        for (name, time) in [("first", &self.first_time), ("last", &self.last_time)] {
            text.line_of(name, time.as_deref());
        }
        for (name, values) in self.summary.iter().filter(|(_, values)| !readable(values).is_empty()) {
            let more = if self.summary_cut.contains(name) { ", and more" } else { "" };
            text.line(name, &(readable(values) + more));
        }
        text.into_string()
    }
}

/// Writes the members of the first alert that an incident's JSON contains.
fn essentials<S: Serializer>(alert: &Alert, serializer: S) -> Result<S::Ok, S::Error> {
    let Alert { alert_id, about, severity, title, dedup, tenant, .. } = alert;
    let mut members = serializer.serialize_map(None)?;
    for (name, text) in [("alert_id", alert_id), ("rule_id", &about.rule_id), ("rule_version", &about.rule_version)] {
        members.serialize_entry(name, text)?;
    }
    members.serialize_entry("severity", severity)?;
    for (name, text) in [("title", title), ("dedup", dedup), ("tenant", tenant)] {
        members.serialize_entry(name, text)?;
    }
    members.end()
}

/// Returns an alert's values of one of Panther's `SummaryAttributes`: the member of the context with this name, or the
/// value of one of Panther's own fields.
fn attribute(alert: &Alert, context: &Map<String, Value>, name: &str) -> Vec<Value> {
    let text = |text: Option<&str>| text.map(Value::from).into_iter().collect();
    match name {
        "p_source_label" => text(alert.cluster.as_deref()),
        "p_log_type" => text(Some(alert.log_type)),
        "p_any_usernames" => listed(context.get("username")),
        "p_any_aws_arns" => listed(context.get("userArn")),
        "p_any_ip_addresses" => {
            let addresses = listed(context.get("sourceIPs"));
            addresses.iter().filter_map(|text| address::parse(text.as_str()?)).map(|ip| ip.to_string().into()).collect()
        }
        name => listed(context.get(name)),
    }
}

/// Returns the items of a list, or a single value.
fn listed(value: Option<&Value>) -> Vec<Value> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.clone(),
        Some(other) => vec![other.clone()],
    }
}
