//! Recognizing records, and the reasons why others are ignored or rejected.

use portcullis_event::{Buffers, Event, LogType, Outcome, SourceScope, normalize_as};
use serde_json::{Value, json};

use super::support::{eks, event_of, outcome};

#[test]
fn a_record_is_recognized_by_its_log_type_or_else_by_its_shape() {
    let log_type = |record: Value| match outcome(record.to_string().as_bytes()) {
        Ok(event) => event["logType"].as_str().expect("text").to_owned(),
        Err(reason) => reason.split(':').next().expect("a word").to_owned(),
    };
    for (record, expected) in [
        (json!({"p_log_type": "Amazon.EKS.Audit"}), "Amazon.EKS.Audit"),
        (json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1beta1"}), "Amazon.EKS.Audit"),
        (json!({"p_log_type": null, "kind": "Event", "apiVersion": "audit.k8s.io/v1"}), "Amazon.EKS.Audit"),
        (json!({"p_log_type": "", "kind": "Event", "apiVersion": "audit.k8s.io/v1"}), "Amazon.EKS.Audit"),
        (json!({"category": "kube-audit", "properties": {"log": "{}"}}), "Azure.MonitorActivity"),
        (json!({"protoPayload": {"serviceName": "k8s.io"}}), "GCP.AuditLog"),
        (json!({"p_log_type": 5, "kind": "Event", "apiVersion": "audit.k8s.io/v1"}), "ignored"),
        (json!({"p_log_type": "amazon.eks.audit"}), "ignored"),
        (json!({"p_log_type": "AWS.CloudTrail", "kind": "Event", "apiVersion": "audit.k8s.io/v1"}), "ignored"),
        (json!({"kind": "Event", "apiVersion": "v1"}), "ignored"),
        (json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1"}), "ignored"),
        (json!({"category": "kube-apiserver", "properties": {"log": "{}"}}), "ignored"),
        (json!({"p_log_type": "Azure.MonitorActivity", "properties": {"log": "{}"}}), "ignored"),
        (json!({"protoPayload": {"serviceName": "K8s.io"}}), "ignored"),
        (json!({"p_log_type": "GCP.AuditLog"}), "ignored"),
        (json!({"protoPayload": []}), "ignored"),
        (json!({}), "ignored"),
    ] {
        assert_eq!(log_type(record.clone()), expected, "{record}");
    }
}

#[test]
fn a_record_that_cannot_be_read_is_rejected_with_the_reason() {
    for (record, reason) in [
        (&b""[..], "empty; expected a JSON object"),
        (b" \t", "empty; expected a JSON object"),
        (b"{", "cut off: its end is missing, and its complete part is not an audit event"),
        (b"{\"a\":NaN}", "not JSON: expected value at line 1 column 6"),
        (b"{} {}", "not JSON: trailing characters at line 1 column 4"),
        (b"{\"a\":\"\xff\"}", "not UTF-8 at byte 6"),
        (
            b"{\"a\tb\":1}",
            "not JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 3",
        ),
        (b"[]", "not a JSON object"),
        (b"\"text\"", "not a JSON object"),
        (b"null", "not a JSON object"),
        (br#"{"category":"kube-audit"}"#, "properties.log is not a JSON object: properties is not an object"),
        (br#"{"category":"kube-audit","properties":{}}"#, "properties.log is not a JSON object: there is none"),
        (
            br#"{"category":"kube-audit","properties":{"log":5}}"#,
            "properties.log is not a JSON object: it is neither text nor an object",
        ),
        (
            br#"{"category":"kube-audit","properties":{"log":"[]"}}"#,
            "properties.log is not a JSON object: invalid type: sequence, expected an object at line 1 column 0",
        ),
    ] {
        assert_eq!(outcome(record), Err(format!("rejected: {reason}")), "{}", String::from_utf8_lossy(record));
    }
}

#[test]
fn json_that_is_not_an_event_is_not_read_as_one() {
    for text in [
        "",
        "[]",
        "{}",
        r#"{"logType":"Amazon.EKS.Audit"}"#,
        r#"{"logType":"other","sourceScope":"none"}"#,
        r#"{"logType":"Amazon.EKS.Audit","sourceScope":"all"}"#,
        r#"{"logType":"Amazon.EKS.Audit","sourceScope":"none","verb":5}"#,
        r#"{"logType":"Amazon.EKS.Audit","sourceScope":"none","sourceIPs":"1.2.3.4"}"#,
        r#"{"logType":"Amazon.EKS.Audit","sourceScope":"none","responseStatus":{"code":"404"}}"#,
        r#"{"logType":"Amazon.EKS.Audit","sourceScope":"none","asn":[5]}"#,
    ] {
        assert!(Event::from_json(text).is_none(), "{text}");
    }
    let event = Event::from_json(r#"{"logType":"Amazon.EKS.Audit","sourceScope":"none","addedLater":1}"#);
    assert_eq!(event.expect("an event").source_scope, SourceScope::None);
}

/// Returns an audit event as the webhook of an API server sends it in a list: without `kind` and `apiVersion`.
fn item() -> Value {
    let mut item = eks(json!({}));
    let members = item.as_object_mut().expect("an object");
    for name in ["kind", "apiVersion", "p_source_label", "p_enrichment"] {
        members.remove(name);
    }
    item
}

#[test]
fn an_audit_event_is_recognized_by_its_shape_or_by_the_list_around_it() {
    assert_eq!(event_of(&item())["verb"], "create");
    for name in ["auditID", "stage", "user"] {
        let mut other = item();
        other.as_object_mut().expect("an object").remove(name);
        let text = other.to_string();
        assert!(outcome(text.as_bytes()).is_err(), "without {name}");
        let mut buffers = Buffers::default();
        let known = normalize_as(text.as_bytes(), Some(LogType::Eks), &mut buffers);
        assert!(matches!(known, Outcome::Evaluated(_)), "without {name}, in a list of audit events");
    }
    for (name, value) in [("kind", "Pod"), ("apiVersion", "v1"), ("user", "ada"), ("p_log_type", "AWS.CloudTrail")] {
        let mut other = item();
        other[name] = value.into();
        assert!(outcome(other.to_string().as_bytes()).is_err(), "{name} is {value}");
    }
    let mut other = item();
    other["requestURI"] = Value::Null;
    other["verb"] = Value::Null;
    assert!(outcome(other.to_string().as_bytes()).is_err(), "it says nothing of what was asked");
}

#[test]
fn a_record_of_another_service_is_ignored_with_its_name() {
    for (record, reason) in [
        (json!({"eventVersion": "1.08", "eventSource": "eks.amazonaws.com", "eventName": "x"}), "AWS CloudTrail"),
        (
            json!({"kind": "Event", "apiVersion": "v1", "metadata": {}, "involvedObject": {}, "reason": "x"}),
            "Kubernetes events",
        ),
        (json!({"category": "kube-apiserver", "operationName": "x", "properties": {}}), "\"kube-apiserver\""),
    ] {
        assert!(outcome(record.to_string().as_bytes()).expect_err("ignored").contains(reason), "{record}");
    }
}
