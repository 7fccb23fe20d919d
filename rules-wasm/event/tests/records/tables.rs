//! Rows of the tables of Azure and Google.

use serde_json::{Value, json};

use super::support::{eks, event_of, outcome};

#[test]
fn rows_of_azures_tables_become_the_same_events_as_records() {
    let audit = eks(
        json!({"impersonatedUser": {"username": "root", "groups": ["g"]}, "stageTimestamp": "2026-01-02T03:04:06Z"}),
    );
    let azure = event_of(&json!({"category": "kube-audit", "properties": {"log": audit}, "p_source_label": "aks-1"}));
    assert_eq!((&azure["impersonatedUser"], &azure["impersonatedGroups"]), (&json!("root"), &json!(["g"])));
    let column = |name: &str, as_text: bool| match &audit[name] {
        value if as_text && (value.is_object() || value.is_array()) => value.to_string().into(),
        value => value.clone(),
    };
    for (table, as_text) in [("AKSAudit", false), ("AKSAuditAdmin", true), ("ArcK8sAudit", true), ("Other", false)] {
        let column = |name| column(name, as_text);
        let row = json!({
            "TimeGenerated": "2026-01-02T03:05:00Z", "Type": table, "p_source_label": "aks-1",
            "AuditId": column("auditID"), "Stage": column("stage"), "Verb": column("verb"), "RequestUri": column("requestURI"),
            "User": column("user"), "ImpersonatedUser": column("impersonatedUser"), "SourceIps": column("sourceIPs"),
            "UserAgent": column("userAgent"), "ObjectRef": column("objectRef"), "ResponseStatus": column("responseStatus"),
            "RequestObject": column("requestObject"), "RequestReceivedTime": column("requestReceivedTimestamp"),
            "StageReceivedTime": column("stageTimestamp"),
        });
        assert_eq!(event_of(&row), azure, "{table}");
    }
    for (name, properties) in [
        ("log_s", Value::Null),
        ("properties", json!({"log": audit.to_string()})),
        ("properties", json!({"log": audit}).to_string().into()),
        ("properties", json!({"log": audit.to_string()}).to_string().into()),
    ] {
        let mut row = json!({"Category": "kube-audit", "Type": "AzureDiagnostics", "p_source_label": "aks-1"});
        row[name] = if properties.is_null() { audit.to_string().into() } else { properties };
        assert_eq!(event_of(&row), azure, "{name}");
        row["Category"] = "kube-apiserver".into();
        assert!(outcome(row.to_string().as_bytes()).is_err(), "{name} of another category");
    }
    // A cut-off column makes a cut-off event.
    let row = json!({"Type": "AKSAudit", "AuditId": "1", "User": r#"{"username":"ada","gro"#});
    let event = event_of(&row);
    assert_eq!((&event["username"], &event["malformed"]), (&json!("ada"), &json!(["cut off"])));
}

#[test]
fn rows_of_googles_tables_become_the_same_events_as_records() {
    let object = json!({"metadata": {"generateName": "web-"}, "spec": {"type": "NodePort"}});
    let entry = |payload: Value| {
        json!({
            "protoPayload": payload, "insertId": "1", "timestamp": "2026-01-02T03:04:05.123456Z",
            "resource": {"labels": {"cluster_name": "gke-1"}},
        })
    };
    let event = event_of(&entry(json!({
        "serviceName": "k8s.io", "methodName": "io.k8s.core.v1.services.create",
        "resourceName": "core/v1/namespaces/prod/services",
        "authenticationInfo": {"principalEmail": "ada"},
        "requestMetadata": {"callerIp": "1.2.3.4", "callerSuppliedUserAgent": "kubectl"},
        "status": {"code": 5}, "request": object, "response": {"metadata": {"name": "web-x"}},
    })));
    assert_eq!((&event["name"], &event["serviceType"]), (&json!("web-x"), &json!("NodePort")));
    let big_query = json!({
        "protopayload_auditlog": {
            "serviceName": "k8s.io", "methodName": "io.k8s.core.v1.services.create",
            "resourceName": "core/v1/namespaces/prod/services",
            "authenticationInfo": {"principalEmail": "ada"},
            "requestMetadata": {"callerIp": "1.2.3.4", "callerSuppliedUserAgent": "kubectl"},
            "status": {"code": 5}, "requestJson": object.to_string(), "responseJson": r#"{"metadata":{"name":"web-x"}}"#,
        },
        "insertId": "1", "timestamp": "2026-01-02 03:04:05.123456 UTC",
        "resource": {"labels": {"cluster_name": "gke-1"}},
    });
    assert_eq!(event_of(&big_query), event);
    let log = json!({
        "service_name": "k8s.io", "method_name": "io.k8s.core.v1.services.create",
        "resource_name": "core/v1/namespaces/prod/services",
        "authentication_info": {"principal_email": "ada"},
        "request_metadata": {"caller_ip": "1.2.3.4", "caller_supplied_user_agent": "kubectl"},
        "status": {"code": 5}, "request": object, "response": {"metadata": {"name": "web-x"}},
    });
    for payload in [json!({"audit_log": log}), log] {
        let analytics = json!({
            "proto_payload": payload, "insert_id": "1", "timestamp": "2026-01-02T03:04:05.123456Z",
            "resource": {"labels": r#"{"cluster_name":"gke-1"}"#},
        });
        assert_eq!(event_of(&analytics), event);
    }
}
