//! What becomes of raw records of the three clouds: outcomes, fields, malformed fields.

use portcullis_event::{Buffers, Event, LogType, Outcome, SourceScope, normalize, normalize_as};
use serde_json::{Value, json};

/// The event of a record as JSON, or `ignored: …`, `rejected: …`.
fn outcome(record: &[u8]) -> Result<Value, String> {
    match normalize(record, &mut Buffers::default()) {
        Outcome::Evaluated(event) => Ok(serde_json::to_value(&event).expect("an event is JSON")),
        Outcome::Ignored(ignored) => Err(format!("ignored: {ignored}")),
        Outcome::Rejected(rejected) => Err(format!("rejected: {rejected}")),
    }
}

fn event_of(record: &Value) -> Value {
    outcome(record.to_string().as_bytes()).expect("the record is evaluated")
}

/// An EKS record with these members changed.
#[expect(clippy::needless_pass_by_value, reason = "a call with json! in it reads as one")]
fn eks(change: Value) -> Value {
    let mut record = json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "auditID": "id-1",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/prod/services",
        "verb": "create",
        "user": {"username": "ada", "groups": ["g1", "g2"], "extra": {"arn": ["arn:aws:iam::1:user/ada", "other"]}},
        "sourceIPs": ["1.2.3.4", "8.8.8.8"],
        "userAgent": "kubectl",
        "objectRef": {"resource": "services", "subresource": "status", "apiGroup": "g", "namespace": "prod", "name": "web"},
        "responseStatus": {"code": 201},
        "requestObject": {"spec": {"type": "NodePort"}},
        "requestReceivedTimestamp": "2026-01-02T03:04:05.000006Z",
        "p_source_label": "eks-1",
        "p_enrichment": {"ipinfo_asn": {"SourceIps": {"asn": "AS1", "name": "One", "p_match": "1.2.3.4"}}},
    });
    for (key, value) in change.as_object().expect("an object") {
        record[key] = value.clone();
    }
    record
}

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

/// Panther renames Google's `callerIp`; in what Panther hands over, only its own name counts.
#[test]
fn the_callers_address_has_googles_name_in_what_google_writes() {
    let source_ips = |record: Value| event_of(&record)["sourceIPs"].clone();
    let payload = |metadata: Value| json!({"serviceName": "k8s.io", "requestMetadata": metadata});
    assert_eq!(source_ips(json!({"protoPayload": payload(json!({"callerIp": "1.1.1.1"}))})), json!(["1.1.1.1"]));
    assert_eq!(source_ips(json!({"protoPayload": payload(json!({"callerIP": "1.1.1.1"}))})), json!(["1.1.1.1"]));
    let panther = |metadata| json!({"p_log_type": "GCP.AuditLog", "protoPayload": payload(metadata)});
    assert_eq!(source_ips(panther(json!({"callerIP": "1.1.1.1"}))), json!(["1.1.1.1"]));
    assert_eq!(source_ips(panther(json!({"callerIp": "1.1.1.1"}))), json!([]));
}

#[test]
fn a_record_is_known_by_its_log_type_else_by_its_shape() {
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
fn what_cannot_be_read_is_rejected_with_the_reason() {
    for (record, reason) in [
        (&b""[..], "nothing where a record should be"),
        (b" \t", "nothing where a record should be"),
        (b"{", "cut off: its end is missing, and what is whole of it is no audit event"),
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
        (br#"{"category":"kube-audit"}"#, "properties.log is not a JSON object: properties is no object"),
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
fn what_is_the_clients_or_empty_is_never_malformed() {
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
fn of_equal_keys_the_last_wins() {
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
fn depth_is_no_way_to_be_rejected() {
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
fn what_is_no_event_is_not_read_as_one() {
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

/// An event as an API server's webhook writes it in its list: without `kind` and `apiVersion`.
fn item() -> Value {
    let mut item = eks(json!({}));
    let members = item.as_object_mut().expect("an object");
    for name in ["kind", "apiVersion", "p_source_label", "p_enrichment"] {
        members.remove(name);
    }
    item
}

#[test]
fn an_audit_event_is_known_by_its_own_shape_or_by_the_list_around_it() {
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

/// Whatever is behind the place where a record is cut counts as absent, and nothing else.
#[test]
fn a_record_that_is_cut_off_is_evaluated_on_what_is_whole() {
    let whole = eks(json!({"responseObject": {"metadata": {"name": "web"}}})).to_string();
    let expected = event_of(&eks(json!({})));
    let mut found = 0;
    for at in 1..whole.len() {
        let azure = json!({"category": "kube-audit", "properties": {"log": &whole[..at]}}).to_string();
        let log_type = json!({"p_log_type": "Amazon.EKS.Audit"}).to_string();
        let cut = format!("{},{}", log_type.trim_end_matches('}'), &whole[1..at]);
        for (text, prefix) in [(&azure, "properties.log."), (&cut, "")] {
            let mut buffers = Buffers::default();
            let Outcome::Evaluated(event) = normalize(text.as_bytes(), &mut buffers) else { continue };
            found += 1;
            assert_eq!(event.malformed, ["cut off"], "{prefix}{}", &whole[..at]);
            let event = serde_json::to_value(&event).expect("JSON");
            for (name, value) in event.as_object().expect("an object") {
                let is_part = match (value, &expected[name]) {
                    (Value::Array(part), Value::Array(whole)) => whole.starts_with(part),
                    (part, whole) => part == whole,
                };
                let own = ["logType", "malformed", "requestObject", "sourceScope", "cluster", "asn", "responseStatus"];
                assert!(is_part || own.contains(&&**name), "{name}: {value} of {}", expected[name]);
            }
        }
    }
    assert!(found > whole.len(), "{found} of {}", whole.len());
    for (text, reason) in [
        (r#"{"category":"kube-audit","properties":{"log":"{\"unknown\":1,\"aud"}}"#, "cut off"),
        (r#"{"unknown":1,"aud"#, "cut off"),
        (r#"{"a":nul"#, "cut off"),
    ] {
        assert!(outcome(text.as_bytes()).expect_err(text).contains(reason), "{text}");
    }
    let marked = format!("{}[Truncated...]", &whole[..whole.find("objectRef").expect("a member")]);
    assert_eq!(outcome(marked.as_bytes()).expect("evaluated")["malformed"], json!(["cut off"]));
}

/// Of a record that holds its event as text, and is itself cut there, the text is all that is left.
#[test]
fn a_record_that_is_cut_off_inside_of_its_events_text_is_evaluated() {
    let whole = json!({"category": "kube-audit", "properties": {"log": eks(json!({})).to_string()}}).to_string();
    let cut = &whole[..whole.find("userAgent").expect("a member")];
    let mut buffers = Buffers::default();
    let Outcome::Evaluated(event) = normalize(cut.as_bytes(), &mut buffers) else { panic!("not evaluated") };
    assert_eq!((event.username.as_deref(), &*event.malformed), (Some("ada"), &["cut off".into()][..]));
}

#[test]
fn rows_of_tables_become_the_same_events() {
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
    // What a column of a table has lost, the event has.
    let row = json!({"Type": "AKSAudit", "AuditId": "1", "User": r#"{"username":"ada","gro"#});
    let event = event_of(&row);
    assert_eq!((&event["username"], &event["malformed"]), (&json!("ada"), &json!(["cut off"])));
}

#[test]
fn rows_of_googles_tables_become_the_same_events() {
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

#[test]
fn a_created_object_is_named_by_what_was_sent_else_by_what_was_stored() {
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

#[test]
fn a_record_of_something_else_is_called_by_its_name() {
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
