//! What a match becomes on its way out.

mod text;

use std::io;

use jiff::Timestamp;
use portcullis_event::{Event, json};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::package::{Severity, hex};
use crate::sandbox::{Answer, AnswerSeverity};
use crate::{Fault, Package};

pub(crate) use text::{Text, readable};
pub use text::{TextStyle, printable};

/// An alert; as JSON, one line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    /// The same for the same record, rule and tenant: 32 hexadecimal digits of a hash of tenant, rule id, dedup key and
    /// record, whose white space does not matter: a wrapping may have it indented.
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
    pub context: Map<String, Value>,
    /// Techniques of MITRE ATT&CK, as `TA0001:T1190`.
    pub mitre: Vec<String>,
    /// Where to read more.
    pub reference: Option<String>,
    /// What to do.
    pub runbook: Option<String>,
    /// The rule's tags.
    pub tags: Vec<String>,
}

impl Alert {
    /// The alert of a rule's answer on an event.
    ///
    /// # Errors
    /// The answer's context is not a JSON object, the title is empty, or both with the dedup have more bytes as JSON than
    /// the limit: a fault of the rule.
    pub(crate) fn new(
        package: &Package,
        answer: Answer,
        event: &Event<'_>,
        record: &[u8],
        tenant: &str,
        limit: usize,
    ) -> Result<Self, Fault> {
        let context = context(&answer.context)?;
        if answer.title.trim().is_empty() {
            return Err(Fault::Answer("answered with an empty title".to_owned()));
        }
        let length = json_length(&(&answer.title, &answer.dedup, &context));
        if length > limit {
            return Err(Fault::Answer(format!(
                "answered with an alert of {length} bytes, more than its limit of {limit}"
            )));
        }
        let spec = package.spec();
        let period = period(event.event_time.as_deref(), spec.dedup_period_minutes);
        let record = without_space(record);
        Ok(Self {
            alert_id: id_of(&[tenant.as_bytes(), spec.rule_id.as_bytes(), answer.dedup.as_bytes(), &record]),
            incident_id: id_of(&[tenant, &spec.rule_id, &answer.dedup, &*period].map(str::as_bytes)),
            rule_id: spec.rule_id.clone(),
            rule_version: package.version().to_string(),
            severity: answer.severity.map_or(spec.severity, severity),
            title: answer.title,
            dedup: answer.dedup,
            dedup_period_minutes: spec.dedup_period_minutes,
            tenant: tenant.to_owned(),
            cluster: event.cluster.as_ref().map(ToString::to_string),
            log_type: event.log_type.as_str(),
            event_time: event.event_time.as_ref().map(ToString::to_string),
            audit_id: event.audit_id.as_ref().map(ToString::to_string),
            context,
            mitre: spec.mitre().to_vec(),
            reference: spec.reference.clone(),
            runbook: spec.runbook.clone(),
            tags: spec.tags.clone(),
        })
    }
}

/// How many bytes a value has as JSON.
pub(crate) fn json_length(value: &impl Serialize) -> usize {
    struct Count(usize);

    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).map_or(usize::MAX, |()| count.0)
}

/// How deep a context may be nested: readers of JSON stop at 128 levels, and an alert stands several deep in some formats.
const MAX_DEPTH: usize = 100;

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The context of an answer. One that JSON's grammar lets pass and readers do not (nested too deep, a lone surrogate, a
/// number out of range) may be the client's own data: it must not cost the match, and stands as text under `unreadable`.
fn context(json: &str) -> Result<Map<String, Value>, Fault> {
    if let Ok(context) = serde_json::from_str::<Map<String, Value>>(json)
        && context.values().all(|value| depth(value) < MAX_DEPTH)
    {
        return Ok(context);
    }
    match json::members(json, []) {
        Ok([]) => Ok(Map::from_iter([("unreadable".to_owned(), json.into())])),
        Err(error) => Err(Fault::Answer(format!("answered with a context that is not a JSON object: {error}"))),
    }
}

fn severity(severity: AnswerSeverity) -> Severity {
    match severity {
        AnswerSeverity::Info => Severity::Info,
        AnswerSeverity::Low => Severity::Low,
        AnswerSeverity::Medium => Severity::Medium,
        AnswerSeverity::High => Severity::High,
        AnswerSeverity::Critical => Severity::Critical,
    }
}

/// The number of the period that a time is in, as a text; of what is no time, an empty one.
fn period(time: Option<&str>, minutes: u32) -> String {
    let time: Option<Timestamp> = time.and_then(|time| time.parse().ok());
    let number = |time: Timestamp| time.as_second().div_euclid(60 * i64::from(minutes.max(1)));
    time.map(number).map(|number| number.to_string()).unwrap_or_default()
}

/// A hash over parts, each preceded by its length, so that no two lists of parts are one text: 32 hexadecimal digits.
#[must_use]
pub fn id_of(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize()[..16])
}

/// JSON without the white space between its tokens.
fn without_space(json: &[u8]) -> Vec<u8> {
    let mut compact = Vec::with_capacity(json.len());
    let mut rest = json;
    // Between strings there is little; what is inside of them is passed over at once.
    while let Some(opening) = memchr::memchr(b'"', rest) {
        let (between, string) = rest.split_at(opening);
        compact.extend(between.iter().filter(|byte| !byte.is_ascii_whitespace()));
        let (string, behind) = string.split_at(string_length(string));
        compact.extend_from_slice(string);
        rest = behind;
    }
    compact.extend(rest.iter().filter(|byte| !byte.is_ascii_whitespace()));
    compact
}

/// The length of the string at the beginning with its quotes; what is no JSON may end inside of one.
fn string_length(json: &[u8]) -> usize {
    let mut length = 1;
    while let Some(found) = json.get(length..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        length += found + 1;
        if json[length - 1] == b'"' {
            return length;
        }
        // Whatever is escaped.
        length += 1;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_the_same_wherever_and_in_whatever_order_its_alerts_are_raised() {
        let of = |time| period(Some(time), 60);
        assert_eq!(of("2026-11-21T10:00:00Z"), of("2026-11-21T11:59:59.999999+01:00"));
        assert_ne!(of("2026-11-21T10:00:00Z"), of("2026-11-21T09:59:59Z"));
        assert_ne!(of("1969-12-31T23:59:59Z"), of("1970-01-01T00:00:00Z"));
        assert_eq!((period(None, 60), period(Some("yesterday"), 60)), (String::new(), String::new()));
    }

    #[test]
    fn the_same_record_has_the_same_id_however_it_is_indented() {
        let record = serde_json::json!({"a b": ["c\" d", "\\", {}, " \\\" ", 1, null], "e": {"f": "", "": [[], true]}});
        let pretty = serde_json::to_string_pretty(&record).expect("JSON");
        assert_eq!(without_space(pretty.as_bytes()), record.to_string().as_bytes());
        // What is no JSON has an id as well.
        assert_eq!(without_space(br#" { "a\"#), br#"{"a\"#);
        assert_eq!(without_space(br#" " a"#), br#"" a"#);
    }
}
