//! An incident: what its alerts have in common, and what not.

use portcullis_alert::{Text, readable};
use portcullis_event::address;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::package::Spec;
use portcullis_alert::{Alert, TextStyle};

/// So many values of one attribute are told apart in one incident.
const MAX_VALUES: usize = 100;

/// The longest value that is kept, in bytes.
const MAX_VALUE: usize = 1_000;

/// Alerts that belong together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Incident {
    /// Its first alert, of which the JSON has `alert_id`, `rule_id`, `rule_version`, `severity`, `title`, `dedup` and `tenant`.
    #[serde(flatten, serialize_with = "essentials")]
    pub alert: Alert,
    /// How many alerts it has.
    pub count: u64,
    /// The time of its earliest event, RFC 3339.
    pub first_time: Option<String>,
    /// The time of its latest event.
    pub last_time: Option<String>,
    /// For each of the rule's `SummaryAttributes` the distinct values, at most 100, in the order in which they came.
    pub summary: serde_json::Map<String, Value>,
    /// The attributes that had more values, or one of more than 1,000 bytes.
    pub summary_cut: Vec<String>,
}

impl Incident {
    /// An incident that begins with this alert, which is yet to be counted.
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

    /// Adds an alert's values of the summary's attributes; by how many bytes it grows.
    pub(super) fn sum_up(&mut self, alert: &Alert) -> usize {
        let Self { summary, summary_cut, .. } = self;
        let mut grown = 0;
        for (name, values) in summary.iter_mut() {
            let Value::Array(values) = values else { continue };
            for value in attribute(alert, name) {
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

    /// The incident for a person.
    #[must_use]
    pub fn text(&self, style: TextStyle) -> String {
        let mut text = Text::new(style);
        let times = if self.count == 1 { "once".to_owned() } else { format!("{} times", self.count) };
        text.title(self.alert.severity, &format!("incident over, {times}: {}", self.alert.title));
        text.line("rule", &format!("{} {}", self.alert.rule_id, self.alert.rule_version));
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

/// What an incident's JSON has of its first alert.
fn essentials<S: Serializer>(alert: &Alert, serializer: S) -> Result<S::Ok, S::Error> {
    let Alert { alert_id, rule_id, rule_version, severity, title, dedup, tenant, .. } = alert;
    let mut members = serializer.serialize_map(None)?;
    for (name, text) in [("alert_id", alert_id), ("rule_id", rule_id), ("rule_version", rule_version)] {
        members.serialize_entry(name, text)?;
    }
    members.serialize_entry("severity", severity)?;
    for (name, text) in [("title", title), ("dedup", dedup), ("tenant", tenant)] {
        members.serialize_entry(name, text)?;
    }
    members.end()
}

/// The values of one of Panther's `SummaryAttributes` in an alert: what the context has under the name; for Panther's own
/// fields, what they stand for.
fn attribute(alert: &Alert, name: &str) -> Vec<Value> {
    let text = |text: Option<&str>| text.map(Value::from).into_iter().collect();
    match name {
        "p_source_label" => text(alert.cluster.as_deref()),
        "p_log_type" => text(Some(alert.log_type)),
        "p_any_usernames" => listed(alert.context.get("username")),
        "p_any_aws_arns" => listed(alert.context.get("userArn")),
        "p_any_ip_addresses" => {
            let addresses = listed(alert.context.get("sourceIPs"));
            addresses.iter().filter_map(|text| address::parse(text.as_str()?)).map(|ip| ip.to_string().into()).collect()
        }
        name => listed(alert.context.get(name)),
    }
}

/// The items of a list, or a lone value.
fn listed(value: Option<&Value>) -> Vec<Value> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.clone(),
        Some(other) => vec![other.clone()],
    }
}
