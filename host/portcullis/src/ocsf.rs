//! Alerts in the Open Cybersecurity Schema Framework (OCSF), as class Detection Finding.
//!
//! Source: OCSF 1.5.0, <https://schema.ocsf.io/1.5.0/classes/detection_finding>, without profiles. Members of a rule's
//! context that have the names which all our rules use (`username`, `sourceIPs`, `verb` …) become evidence. The
//! evidence's `data` is the whole context.

use std::net::IpAddr;

use jiff::Timestamp;
use portcullis_event::address;
use serde_json::{Map, Value, json};

use crate::incidents::Incident;
use crate::package::{Severity, Spec};
use portcullis_alert::Alert;

/// The members of a rule's context.
type Context = Map<String, Value>;

const VERSION: &str = "1.5.0";
const CLASS: u32 = 2004;

/// The activities of the class that we write.
#[derive(Clone, Copy)]
enum Activity {
    Create = 1,
    Update = 2,
}

/// Returns an alert as a Detection Finding with activity Create. `now` is its time if the event has none.
#[must_use]
pub fn finding(alert: &Alert, spec: &Spec, now: Timestamp) -> Value {
    let time = milliseconds(alert.event_time.as_deref());
    let mut finding = base(alert, spec, Activity::Create, time.unwrap_or(now.as_millisecond()));
    if let Some(time) = time {
        set(&mut finding["finding_info"], "first_seen_time", time);
        set(&mut finding["finding_info"], "last_seen_time", time);
    }
    without_absent(finding)
}

/// Returns a closed incident as a Detection Finding with activity Update, for the finding of its first alert.
#[must_use]
pub fn incident(incident: &Incident, spec: &Spec, now: Timestamp) -> Value {
    let [first, last] = [&incident.first_time, &incident.last_time].map(|time| milliseconds(time.as_deref()));
    let time = last.unwrap_or(now.as_millisecond());
    let mut finding = base(&incident.alert, spec, Activity::Update, time);
    for (name, time) in [("first_seen_time", first), ("last_seen_time", last)] {
        set(&mut finding["finding_info"], name, time);
    }
    // The finding is the same; the OCSF event about it is new.
    set(&mut finding["metadata"], "uid", format!("{}-over", incident.alert.alert_id));
    set(&mut finding, "count", incident.count);
    set(&mut finding, "start_time", first);
    set(&mut finding, "end_time", last);
    set(&mut finding["unmapped"], "summary", incident.summary.clone());
    without_absent(finding)
}

/// Returns the members that all findings of an alert have; absent ones are null.
fn base(alert: &Alert, spec: &Spec, activity: Activity, time: i64) -> Value {
    let (activity_id, activity_name) = match activity {
        Activity::Create => (activity as u32, "Create"),
        Activity::Update => (activity as u32, "Update"),
    };
    let (severity_id, severity) = severity(alert.severity);
    let context = alert.context.members();
    json!({
        "activity_id": activity_id,
        "activity_name": activity_name,
        "category_uid": CLASS / 1000,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "type_uid": CLASS * 100 + activity_id,
        "type_name": format!("Detection Finding: {activity_name}"),
        "time": time,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": 1,
        "status": "New",
        "is_alert": true,
        "message": alert.title,
        "finding_info": {
            "uid": alert.alert_id,
            "title": alert.title,
            "desc": spec.description.as_deref().map(str::trim_end),
            "src_url": alert.about.reference.as_ref().filter(|address| is_web_address(address)),
            "types": *alert.about.tags,
            "data_sources": [alert.log_type],
            "analytic": {
                "uid": alert.about.rule_id,
                "name": spec.display_name,
                "type_id": 1,
                "type": "Rule",
                "version": alert.about.rule_version,
            },
            "attacks": alert.about.mitre.iter().map(|technique| attack(technique)).collect::<Vec<_>>(),
        },
        "evidences": [evidence(alert, &context)],
        "resources": resources(alert, &context),
        "observables": observables(alert, &context),
        "remediation": alert.about.runbook.as_ref().map(|runbook| json!({"desc": runbook.trim_end()})),
        "metadata": {
            "version": VERSION,
            "product": {"name": "Portcullis", "vendor_name": "Portcullis", "version": env!("CARGO_PKG_VERSION")},
            "uid": alert.alert_id,
            "correlation_uid": alert.incident_id,
            "log_name": alert.log_type,
            "original_time": alert.event_time,
            "tenant_uid": alert.tenant,
        },
        "unmapped": {
            "cluster": alert.cluster, "dedup": alert.dedup, "dedup_period_minutes": alert.about.dedup_period_minutes,
        },
    })
}

/// Returns whether a reference is an address that a reader may open.
fn is_web_address(reference: &str) -> bool {
    ["https://", "http://"].iter().any(|scheme| reference.starts_with(scheme))
}

/// Returns the OCSF id and caption of a severity.
fn severity(severity: Severity) -> (u32, &'static str) {
    match severity {
        Severity::Info => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}

/// Returns an entry of a spec's MITRE ATT&CK list, `tactic:technique` or `tactic:technique.sub-technique`, as an OCSF
/// attack.
fn attack(report: &str) -> Value {
    let (tactic, technique) = report.split_once(':').unwrap_or((report, ""));
    let parent = technique.split_once('.').map_or(technique, |(parent, _)| parent);
    let uid = |uid: &str| (!uid.is_empty()).then(|| json!({"uid": uid}));
    json!({
        "tactic": uid(tactic),
        "technique": uid(parent),
        "sub_technique": (parent != technique).then(|| json!({"uid": technique})),
    })
}

/// Returns a text of the context that is not empty.
fn text<'a>(context: &'a Context, name: &str) -> Option<&'a str> {
    context.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Returns the source addresses. The client can write all except the last.
fn addresses(context: &Context) -> Vec<IpAddr> {
    let list = context.get("sourceIPs").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|text| address::parse(text.as_str()?)).collect()
}

fn evidence(alert: &Alert, context: &Context) -> Value {
    let addresses = addresses(context);
    let (own, through) = addresses.split_last().map_or((None, &[][..]), |(last, before)| (Some(last), before));
    let number = text(context, "asn").and_then(|asn| asn.strip_prefix("AS")?.parse::<u32>().ok());
    let code = context.get("responseStatus").and_then(|status| status.get("code")).cloned();
    let code = code.filter(|code| code.as_i64().is_some_and(|code| i32::try_from(code).is_ok()));
    json!({
        "actor": text(context, "username").map(|name| json!({"user": {"name": name}})),
        // The user that the actor impersonated.
        "user": text(context, "impersonatedUser").map(|name| json!({"name": name})),
        "src_endpoint": own.map(|own| json!({
            "ip": own,
            "intermediate_ips": through,
            "autonomous_system": number.map(|number| json!({"number": number})),
        })),
        "api": text(context, "verb").map(|verb| json!({
            "operation": verb,
            "service": {"name": "Kubernetes"},
            "request": alert.audit_id.as_ref().map(|uid| json!({"uid": uid})),
            "response": code.map(|code| json!({"code": code})),
        })),
        "http_request": {
            "user_agent": text(context, "userAgent"),
            "url": text(context, "requestURI").map(|path| json!({"path": path})),
        },
        "data": context,
    })
}

/// Returns the object of the request, and its cluster.
fn resources(alert: &Alert, context: &Context) -> Value {
    let (name, path) = (text(context, "name"), text(context, "requestURI"));
    let object = (name.is_some() || path.is_some()).then(
        || json!({"name": name, "uid": path, "type": text(context, "resource"), "namespace": text(context, "namespace")}),
    );
    let cluster = alert.cluster.as_ref().map(|name| json!({"name": name, "type": "cluster"}));
    [object, cluster].into_iter().flatten().collect()
}

/// Returns the values that analysts search for.
fn observables(alert: &Alert, context: &Context) -> Value {
    let mut observables = Vec::new();
    let mut add = |name: &str, type_id: u32, kind: &str, value: &str| {
        observables.push(json!({"name": name, "type_id": type_id, "type": kind, "value": value}));
    };
    if let Some(name) = text(context, "username") {
        add("evidences.actor.user.name", 4, "User Name", name);
    }
    if let Some(name) = text(context, "impersonatedUser") {
        add("evidences.user.name", 4, "User Name", name);
    }
    let addresses = addresses(context);
    for (n, address) in addresses.iter().enumerate() {
        let own = n + 1 == addresses.len();
        let name = if own { "evidences.src_endpoint.ip" } else { "evidences.src_endpoint.intermediate_ips" };
        add(name, 2, "IP Address", &address.to_string());
    }
    if let Some(agent) = text(context, "userAgent") {
        add("evidences.http_request.user_agent", 16, "HTTP User-Agent", agent);
    }
    if let Some(name) = text(context, "name").or(alert.cluster.as_deref()) {
        add("resources.name", 38, "Resource Details Object: name", name);
    }
    observables.into()
}

fn milliseconds(time: Option<&str>) -> Option<i64> {
    time?.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    object[name] = value.into();
}

/// Removes nulls, empty lists and empty objects, except inside `data` and below `unmapped`, which are the rule's own.
fn without_absent(value: Value) -> Value {
    let Value::Object(members) = value else { return value };
    let kept = |(name, value): (String, Value)| {
        let value = match value {
            Value::Object(_) if name != "data" => without_absent(value),
            Value::Array(items) => Value::Array(items.into_iter().map(without_absent).collect()),
            other => other,
        };
        let absent = match &value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        (!absent).then_some((name, value))
    };
    Value::Object(members.into_iter().filter_map(kept).collect::<Map<_, _>>())
}
