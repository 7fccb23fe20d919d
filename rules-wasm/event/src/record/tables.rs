//! Rows of the tables in which clouds keep audit records. A row is made a record in the form in which its cloud sends
//! it.
//!
//! Sources of the columns: Azure Monitor's reference of the tables `AKSAudit`, `AKSAuditAdmin`, `ArcK8sAudit` and
//! `AzureDiagnostics`, and Google Cloud's "BigQuery schema of exported logs". For Log Analytics: the names of the
//! fields of `google.cloud.audit.AuditLog`.

use std::borrow::Cow;

use super::category::audit_category;
use super::hints;
use super::outcome::{Ignored, Outcome, Rejected};
use crate::event::LogType;
use crate::json::{Document, Names, Value, cut, text_of};
use crate::scan::Tokens;

/// A row that was made a record.
pub(crate) struct Row {
    /// Whether the end of a column was missing.
    pub(crate) was_cut: bool,
}

/// The tables of Azure Monitor whose columns are an audit event's members.
const AUDIT_TABLES: [&str; 4] = ["AKSAudit", "AKSAuditAdmin", "ArcK8sAudit", "ArcK8sAuditAdmin"];

/// The columns of these tables, and the member of an audit event for each.
const COLUMNS: [(&str, &str); 14] = [
    ("AuditId", "auditID"),
    ("Stage", "stage"),
    ("Verb", "verb"),
    ("RequestUri", "requestURI"),
    ("User", "user"),
    ("ImpersonatedUser", "impersonatedUser"),
    ("SourceIps", "sourceIPs"),
    ("UserAgent", "userAgent"),
    ("ObjectRef", "objectRef"),
    ("ResponseStatus", "responseStatus"),
    ("RequestObject", "requestObject"),
    ("ResponseObject", "responseObject"),
    ("RequestReceivedTime", "requestReceivedTimestamp"),
    ("StageReceivedTime", "stageTimestamp"),
];

/// The members of Google's payload: their names in the API, in Log Analytics, and in BigQuery.
const PAYLOAD: [(&str, [&str; 3]); 8] = [
    ("serviceName", ["serviceName", "service_name", "serviceName"]),
    ("methodName", ["methodName", "method_name", "methodName"]),
    ("resourceName", ["resourceName", "resource_name", "resourceName"]),
    ("authenticationInfo", ["authenticationInfo", "authentication_info", "authenticationInfo"]),
    ("requestMetadata", ["requestMetadata", "request_metadata", "requestMetadata"]),
    ("status", ["status", "status", "status"]),
    ("request", ["request", "request_json", "requestJson"]),
    ("response", ["response", "response_json", "responseJson"]),
];

/// The members of these objects with names of several words: their names in Log Analytics and in the API.
const WORDS: [(&str, &str); 5] = [
    ("principal_email", "principalEmail"),
    ("principal_subject", "principalSubject"),
    ("authority_selector", "authoritySelector"),
    ("caller_ip", "callerIp"),
    ("caller_supplied_user_agent", "callerSuppliedUserAgent"),
];

/// A JSON object that is being written.
struct Object<'o> {
    text: &'o mut String,
    was_cut: bool,
}

impl<'o> Object<'o> {
    fn new(text: &'o mut String) -> Self {
        text.clear();
        Self { text, was_cut: false }
    }

    fn name(&mut self, name: &str) {
        if !matches!(self.text.as_bytes().last(), None | Some(b'{')) {
            self.text.push(',');
        }
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\":");
    }

    fn open(&mut self, name: &str) {
        self.name(name);
        self.text.push('{');
    }

    /// Writes a member. JSON that is text is written as JSON.
    fn member(&mut self, name: &str, value: Option<Value<'_, '_>>) {
        if let Some(value) = value {
            let (json, was_cut) = json_of(value);
            self.name(name);
            self.text.push_str(&json);
            self.was_cut |= was_cut;
        }
    }
}

/// Returns a value, or the object or list in it if it is text, and whether the end of that was missing.
fn json_of<'a>(value: Value<'a, '_>) -> (Cow<'a, str>, bool) {
    if let Some(string) = value.string() {
        let text = string.unescaped();
        if text.trim_start().starts_with(['{', '['])
            && let Some((json, was_cut)) =
                cut::closed(&text, |text| Document::read(text, &mut Tokens::default()).is_some())
        {
            return (json.into_owned().into(), was_cut);
        }
    }
    (value.raw().get().into(), false)
}

/// Writes the record of a row into a buffer. `None` if the object is not a row of a known table.
pub(crate) fn record_of(row: Value<'_, '_>, record: &mut String) -> Option<Row> {
    let mut record = Object::new(record);
    record.text.push('{');
    if !azure(row, &mut record) && !google(row, &mut record) {
        return None;
    }
    let [label, enrichment] = row.named(&const { Names::new(["p_source_label", "p_enrichment"]) })?;
    record.member("p_source_label", label);
    record.member("p_enrichment", enrichment);
    record.text.push('}');
    Some(Row { was_cut: record.was_cut })
}

fn azure(row: Value<'_, '_>, record: &mut Object<'_>) -> bool {
    let names = const {
        Names::new(["Type", "Category", "category", "TimeGenerated", "time", "log_s", "properties", "Properties"])
    };
    let Some([table, category, lower, generated, time, log, properties, capital]) = row.named(&names) else {
        return false;
    };
    let time = time.or(generated);
    let columns = row.named(&const { Names::new(first(&COLUMNS)) }).unwrap_or_default();
    let [audit_id, stage, verb, request_uri, ..] = columns;
    let is_text = |value| text_of(value).is_some();
    let has_columns = is_text(audit_id) && is_text(stage) && (is_text(verb) || is_text(request_uri));
    if has_columns || text_of(table).is_some_and(|table| AUDIT_TABLES.contains(&&*table)) {
        record.name("category");
        record.text.push_str("\"kube-audit\"");
        record.open("properties");
        record.open("log");
        for ((_, member), value) in COLUMNS.iter().zip(columns) {
            record.member(member, value);
        }
        record.text.push_str("}}");
    } else {
        let category = lower.or(category);
        if audit_category(category).is_err() || log.or(properties).or(capital).is_none() {
            return false;
        }
        record.member("category", category);
        // Copied as it is. Its reader reports what is wrong with it.
        if let Some(log) = log {
            record.open("properties");
            record.name("log");
            record.text.push_str(log.raw().get());
            record.text.push('}');
        } else {
            record.name("properties");
            record.text.push_str(properties.or(capital).map_or("null", |properties| properties.raw().get()));
        }
    }
    record.member("time", time);
    true
}

fn google(row: Value<'_, '_>, record: &mut Object<'_>) -> bool {
    let names = const {
        Names::new(["protopayload_auditlog", "proto_payload", "insertId", "insert_id", "timestamp", "resource"])
    };
    let Some([big_query, analytics, insert_id, insert_id_of_analytics, timestamp, resource]) = row.named(&names) else {
        return false;
    };
    let Some(payload) = big_query.or(analytics).filter(|payload| payload.is_object()) else { return false };
    let payload = match payload.named(&const { Names::new(["audit_log"]) }) {
        Some([Some(inner)]) if inner.is_object() => inner,
        _ => payload,
    };
    let members = PAYLOAD.map(|(member, names)| {
        let [camel, snake, json] = payload.named(&Names::new(names)).unwrap_or_default();
        (member, json.or(snake).or(camel))
    });
    record.open("protoPayload");
    for (member, value) in members {
        match value {
            Some(inner) if inner.is_object() && matches!(member, "authenticationInfo" | "requestMetadata") => {
                record.open(member);
                for (name, value) in inner.named_values() {
                    let name = name.unescaped();
                    let api = WORDS.iter().find_map(|(snake, camel)| (*snake == name).then_some(*camel));
                    // Other members are not read.
                    if let Some(name) =
                        api.or_else(|| WORDS.iter().find_map(|(_, camel)| (*camel == name).then_some(*camel)))
                    {
                        record.member(name, Some(value));
                    }
                }
                record.text.push('}');
            }
            value => record.member(member, value),
        }
    }
    record.text.push('}');
    record.member("insertId", insert_id.or(insert_id_of_analytics));
    if let Some(time) = text_of(timestamp) {
        record.name("timestamp");
        record.text.push('"');
        record.text.push_str(&rfc3339(&time).replace(['"', '\\'], ""));
        record.text.push('"');
    }
    let labels = resource.and_then(|resource| resource.named(&const { Names::new(["labels"]) }));
    if let Some([labels]) = labels {
        record.open("resource");
        record.member("labels", labels);
        record.text.push('}');
    }
    true
}

/// Converts a time as BigQuery prints it, `2026-11-18 10:00:00.123456 UTC`, to RFC 3339. Any other text is returned as
/// it is.
fn rfc3339(time: &str) -> Cow<'_, str> {
    match time.strip_suffix(" UTC").and_then(|time| time.split_once(' ')) {
        Some((date, time)) => format!("{date}T{time}Z").into(),
        None => time.into(),
    }
}

const fn first<const N: usize>(pairs: &[(&'static str, &'static str); N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut place = 0;
    while place < N {
        names[place] = pairs[place].0;
        place += 1;
    }
    names
}

/// Decides the outcome of an object that is neither a record nor a row, even if `p_log_type` or a category says so.
#[cold]
pub(crate) fn no_row<'a>(object: Value<'_, '_>, log_type: Option<LogType>) -> Outcome<'a> {
    let names = const { Names::new(["category", "Category", "operationName", "properties", "resourceId"]) };
    let [category, capital, operation, properties, resource_id] = object.named(&names).unwrap_or_default();
    let category = audit_category(category.or(capital));
    Outcome::Ignored(match (log_type, category) {
        (Some(LogType::Aks), Ok(())) => {
            return Outcome::Rejected(Rejected::NoAuditEvent("properties is not an object".to_owned()));
        }
        (Some(LogType::Aks), Err(category)) => Ignored::Category(category),
        (Some(LogType::Gke), _) => Ignored::Service(None),
        // The category of an Azure resource log decides. Logs of other categories are ignored, whatever they contain.
        (_, Err(category))
            if properties.is_some() && (text_of(operation).is_some() || text_of(resource_id).is_some()) =>
        {
            Ignored::Category(category)
        }
        _ => hints::other_record(object).map_or(Ignored::Shape, Ignored::Other),
    })
}
