//! The fields of events, and malformed fields.

use portcullis_event::{Buffers, Event, Outcome, normalize};
use serde_json::{Value, json};

use super::support::{eks, event_of, outcome};

#[test]
fn an_eks_record_becomes_an_event() {
    assert_eq!(
        event_of(&eks(json!({}))),
        json!({
            "logType": "Amazon.EKS.Audit",
            "stage": "ResponseComplete",
            "verb": "create",
            "username": "ada",
            "userGroups": ["g1", "g2"],
            "userArn": "arn:aws:iam::1:user/ada",
            "impersonatedGroups": [],
            "sourceIPs": ["1.2.3.4", "8.8.8.8"],
            "sourceScope": "public",
            "asn": [{"asn": "AS1", "name": "One", "address": "1.2.3.4"}],
            "userAgent": "kubectl",
            "resource": "services",
            "subresource": "status",
            "apiGroup": "g",
            "namespace": "prod",
            "name": "web",
            "requestURI": "/api/v1/namespaces/prod/services",
            "responseStatus": {"code": 201},
            "serviceType": "NodePort",
            "cluster": "eks-1",
            "eventTime": "2026-01-02T03:04:05.000006Z",
            "auditID": "id-1",
            "requestObject": {"spec": {"type": "NodePort"}},
            "malformed": [],
        })
    );
}

#[test]
fn an_aks_record_holds_the_same_event_as_text_or_as_an_object() {
    let mut audit = eks(json!({}));
    for outside in ["p_source_label", "p_enrichment"] {
        audit.as_object_mut().expect("an object").remove(outside);
    }
    let mut expected = event_of(&audit);
    expected["logType"] = "Azure.MonitorActivity".into();
    for log in [Value::from(audit.to_string()), audit] {
        let record =
            json!({"category": "kube-audit-admin", "time": "2026-02-02T00:00:00Z", "properties": {"log": log}});
        assert_eq!(event_of(&record), expected);
    }
}

#[test]
fn a_gke_record_becomes_an_event() {
    let record = json!({
        "protoPayload": {
            "serviceName": "k8s.io",
            "methodName": "io.k8s.apps.v1.deployments.patch",
            "authenticationInfo": {"principalEmail": "", "principalSubject": "subject"},
            "requestMetadata": {"callerIp": "10.0.0.9", "callerSuppliedUserAgent": "helm"},
            "resourceName": "apps/v1/namespaces/prod/deployments/web/scale",
            "request": {"spec": {"type": "ClusterIP"}},
            "status": {"code": 7},
        },
        "resource": {"labels": {"cluster_name": "gke-1"}},
        "timestamp": "2026-01-02T03:04:05Z",
        "insertId": "id-2",
    });
    assert_eq!(
        event_of(&record),
        json!({
            "logType": "GCP.AuditLog",
            "verb": "patch",
            "username": "subject",
            "impersonatedGroups": [],
            "userGroups": [],
            "sourceIPs": ["10.0.0.9"],
            "sourceScope": "internal",
            "asn": [],
            "userAgent": "helm",
            "resource": "deployments",
            "subresource": "scale",
            "apiGroup": "apps",
            "namespace": "prod",
            "name": "web",
            "requestURI": "/apis/apps/v1/namespaces/prod/deployments/web/scale",
            "responseStatus": {"code": 7},
            "serviceType": "ClusterIP",
            "cluster": "gke-1",
            "eventTime": "2026-01-02T03:04:05Z",
            "auditID": "id-2",
            "requestObject": {"spec": {"type": "ClusterIP"}},
            "malformed": [],
        })
    );
}

/// Panther renames Google's `callerIp`. In records from Panther, only Panther's name counts.
#[test]
fn the_callers_address_has_googles_name_in_googles_records() {
    let source_ips = |record: Value| event_of(&record)["sourceIPs"].clone();
    let payload = |metadata: Value| json!({"serviceName": "k8s.io", "requestMetadata": metadata});
    assert_eq!(source_ips(json!({"protoPayload": payload(json!({"callerIp": "1.1.1.1"}))})), json!(["1.1.1.1"]));
    assert_eq!(source_ips(json!({"protoPayload": payload(json!({"callerIP": "1.1.1.1"}))})), json!(["1.1.1.1"]));
    let panther = |metadata| json!({"p_log_type": "GCP.AuditLog", "protoPayload": payload(metadata)});
    assert_eq!(source_ips(panther(json!({"callerIP": "1.1.1.1"}))), json!(["1.1.1.1"]));
    assert_eq!(source_ips(panther(json!({"callerIp": "1.1.1.1"}))), json!([]));
}

#[test]
fn a_field_of_a_wrong_type_is_absent_and_its_path_is_listed() {
    for (change, path) in [
        (json!({"stage": 5}), "stage"),
        (json!({"verb": ["create"]}), "verb"),
        (json!({"user": "ada"}), "user"),
        (json!({"user": {"username": {}}}), "user.username"),
        (json!({"user": {"groups": "g1"}}), "user.groups"),
        (json!({"user": {"groups": ["g1", 5]}}), "user.groups"),
        (json!({"sourceIPs": 5}), "sourceIPs"),
        (json!({"sourceIPs": ["1.2.3.4", null]}), "sourceIPs"),
        (json!({"userAgent": true}), "userAgent"),
        (json!({"objectRef": []}), "objectRef"),
        (json!({"objectRef": {"resource": 1}}), "objectRef.resource"),
        (json!({"objectRef": {"namespace": 1}}), "objectRef.namespace"),
        (json!({"objectRef": {"name": 1}}), "objectRef.name"),
        (json!({"requestURI": 1}), "requestURI"),
        (json!({"responseStatus": 200}), "responseStatus"),
        (json!({"responseStatus": {"code": true}}), "responseStatus.code"),
    ] {
        assert_eq!(event_of(&eks(change.clone()))["malformed"], json!([path]), "{change}");
        let record = json!({"category": "kube-audit", "properties": {"log": eks(change).to_string()}});
        assert_eq!(event_of(&record)["malformed"], json!([format!("properties.log.{path}")]));
    }
    let gke = |field: &str, value: Value| {
        let mut payload = json!({"serviceName": "k8s.io"});
        payload[field] = value;
        event_of(&json!({"protoPayload": payload}))["malformed"].clone()
    };
    assert_eq!(gke("methodName", json!(1)), json!(["protoPayload.methodName"]));
    assert_eq!(gke("authenticationInfo", json!([])), json!(["protoPayload.authenticationInfo"]));
    let email =
        gke("authenticationInfo", json!({"principalEmail": 5, "principalSubject": "x", "authoritySelector": 5}));
    assert_eq!(email, json!(["protoPayload.authenticationInfo.principalEmail"]));
    assert_eq!(gke("requestMetadata", json!({"callerIP": {}})), json!(["protoPayload.requestMetadata.callerIP"]));
    assert_eq!(gke("status", json!({"code": "x"})), json!(["protoPayload.status.code"]));
    assert_eq!(gke("resourceName", json!(5)), json!(["protoPayload.resourceName"]));
}

#[test]
fn the_clients_data_and_empty_fields_are_never_malformed() {
    for change in [
        json!({"user": null, "sourceIPs": null, "objectRef": null, "responseStatus": null, "verb": null}),
        json!({"user": "", "sourceIPs": "", "objectRef": "", "responseStatus": "", "verb": ""}),
        json!({"user": {"username": "", "groups": null, "extra": 5}}),
        json!({"user": {"extra": {"arn": [5]}}}),
        json!({"objectRef": {"subresource": 5, "apiGroup": []}}),
        json!({"responseStatus": {"code": ""}}),
        json!({"requestObject": [{"op": "add"}]}),
        json!({"requestObject": {"spec": 5}}),
        json!({"requestObject": {"spec": {"type": {}}}}),
        json!({"sourceIPs": [""]}),
        json!({"p_source_label": 5, "p_enrichment": 5, "auditID": 5, "requestReceivedTimestamp": 5}),
    ] {
        assert_eq!(event_of(&eks(change.clone()))["malformed"], json!([]), "{change}");
    }
}

#[test]
fn a_lone_source_address_is_a_list_of_one() {
    assert_eq!(event_of(&eks(json!({"sourceIPs": "8.8.8.8"})))["sourceIPs"], json!(["8.8.8.8"]));
}

#[test]
fn response_codes_are_integers_however_they_are_written() {
    let code = |raw: &str| {
        let record = format!(r#"{{"p_log_type":"Amazon.EKS.Audit","responseStatus":{{"code":{raw}}}}}"#);
        outcome(record.as_bytes()).expect("evaluated")["responseStatus"]["code"].clone()
    };
    for (raw, expected) in [
        ("404", 404),
        ("404.0", 404),
        ("4.04e2", 404),
        ("-0", 0),
        ("\"404\"", 404),
        ("\"-5\"", -5),
        ("\"\\u0034\"", 4),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808.0", i64::MIN),
    ] {
        assert_eq!(code(raw), expected, "{raw}");
    }
    for raw in [
        "404.5",
        "1e300",
        "1e999",
        "5e-324",
        "-9223372036854775809",
        "9223372036854775808",
        "\"+5\"",
        "\" 5\"",
        "\"5.0\"",
        "true",
        "[404]",
        "\"-\"",
    ] {
        assert_eq!(code(raw), Value::Null, "{raw}");
    }
}

#[test]
fn the_last_of_equal_members_counts() {
    let record = br#"{"p_log_type":"AWS.CloudTrail","p_log_type":"Amazon.EKS.Audit","verb":5,"verb":"get","user":5,"user":{"username":"a","username":"b"}}"#;
    let event = outcome(record).expect("evaluated");
    assert_eq!((&event["verb"], &event["username"], &event["malformed"]), (&json!("get"), &json!("b"), &json!([])));
}

#[test]
fn escapes_in_keys_and_values_are_read_and_a_lone_surrogate_hides_nothing() {
    let record = br#"{"p_log_type":"Amazon.EKS.Audit","\u0076erb":"g\u0065t","user":{"username":"system:node:\ud800x"},"\ud800":1}"#;
    let event = outcome(record).expect("evaluated");
    assert_eq!(event["verb"], "get");
    let username = event["username"].as_str().expect("text");
    assert!(username.starts_with("system:node:\u{fffd}"), "{username}");
}

#[test]
fn nesting_of_any_depth_is_accepted() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let record = format!(
        r#"{{"p_log_type":"Amazon.EKS.Audit","annotations":{deep},"verb":{deep},"user":{{"extra":{deep},"username":"a"}},"requestObject":{{"x":{deep},"spec":{{"type":"NodePort"}}}}}}"#
    );
    let mut buffers = Buffers::default();
    let Outcome::Evaluated(event) = normalize(record.as_bytes(), &mut buffers) else { panic!("not evaluated") };
    assert_eq!(event.service_type.as_deref(), Some("NodePort"));
    assert_eq!(event.username.as_deref(), Some("a"));
    assert_eq!(event.malformed, ["verb"]);
    let json = serde_json::to_string(&event).expect("an event is JSON");
    assert!(Event::from_json(&json).is_some_and(|event| event.request_object.is_some()));
}

#[test]
fn a_request_object_longer_than_its_limit_is_left_out_and_still_read() {
    let filler = "x".repeat(Event::MAX_REQUEST_OBJECT);
    let record = eks(json!({"requestObject": {"filler": filler, "spec": {"type": "NodePort"}}}));
    let event = event_of(&record);
    assert_eq!((&event["requestObject"], &event["serviceType"]), (&Value::Null, &json!("NodePort")));
}

#[test]
fn a_created_object_has_the_name_that_was_sent_or_else_the_one_that_was_stored() {
    let name = |verb: &str, sent: Value, stored: Value| {
        let reference = json!({"resource": "services", "namespace": "prod"});
        let change = json!({"verb": verb, "objectRef": reference, "requestObject": sent, "responseObject": stored});
        event_of(&eks(change)).get("name").cloned()
    };
    let named = |name: &str| json!({"metadata": {"name": name}});
    assert_eq!(name("create", named("a"), named("b")), Some("a".into()));
    assert_eq!(name("create", json!({"metadata": {"generateName": "a-"}}), named("a-x")), Some("a-x".into()));
    assert_eq!(name("create", json!({"metadata": []}), json!([])), None);
    assert_eq!(name("list", named("a"), named("b")), None, "of a list there is no one name");
}
