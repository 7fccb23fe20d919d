//! Whatever a record is: it has an outcome, and its event is one that rules can read.

use std::sync::LazyLock;

use portcullis_event::{Event, Outcome, normalize};
use proptest::prelude::*;
use serde_json::Value;

/// Every member of an event is one that the schema describes, and those that it requires are always there.
fn check_against_schema(event: &Value) {
    static SCHEMA: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(include_str!("../event.schema.json")).expect("the schema is JSON"));
    let members = event.as_object().expect("an event is an object");
    for (name, value) in members {
        let described = &SCHEMA["properties"][name];
        assert!(described.is_object(), "{name} is not in the schema");
        let found = match value {
            Value::String(_) => "string",
            Value::Array(_) => "array",
            _ => continue,
        };
        let expected = described["type"].to_string();
        assert!(
            described["type"].is_null() || expected.contains(found),
            "{name} is of type {found}, and the schema says {expected}"
        );
    }
    for name in SCHEMA["required"].as_array().expect("a list") {
        assert!(members.contains_key(name.as_str().expect("text")), "{name} is required");
    }
}

/// JSON of any shape, with the names and values that mean something more often than chance has them.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        prop::sample::select(vec!["k8s.io", "kube-audit", "Event", "audit.k8s.io/v1", "1.2.3.4", "core/v1/pods", "{}"])
            .prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "p_log_type",
        "kind",
        "apiVersion",
        "category",
        "properties",
        "log",
        "protoPayload",
        "serviceName",
        "user",
        "username",
        "groups",
        "extra",
        "arn",
        "sourceIPs",
        "objectRef",
        "resource",
        "responseStatus",
        "status",
        "code",
        "requestObject",
        "request",
        "spec",
        "type",
        "requestMetadata",
        "callerIP",
        "resourceName",
        "methodName",
        "authenticationInfo",
        "principalEmail",
        "p_enrichment",
        "ipinfo_asn",
        "asn",
        "labels",
        "verb",
        "stage",
    ]);
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..8).prop_map(|members| Value::Object(
                members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_have_an_outcome(record in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = normalize(&record, &mut String::new());
    }

    #[test]
    fn any_object_is_never_rejected_but_for_azures_text_and_its_event_survives_json(
        mut record in any_value(),
        log_type in prop::sample::select(vec!["Amazon.EKS.Audit", "Azure.MonitorActivity", "GCP.AuditLog", ""]),
    ) {
        if let Some(members) = record.as_object_mut() {
            members.insert("p_log_type".to_owned(), log_type.into());
        }
        let text = record.to_string();
        let mut buffer = String::new();
        match normalize(text.as_bytes(), &mut buffer) {
            Outcome::Evaluated(event) => {
                let json = serde_json::to_string(&event).expect("an event is JSON");
                check_against_schema(&serde_json::from_str(&json).expect("JSON"));
                let read = Event::from_json(&json).expect("an event's JSON is one");
                prop_assert_eq!(serde_json::to_string(&read).expect("an event is JSON"), json);
            }
            Outcome::Ignored(_) => {}
            Outcome::Rejected(_) => prop_assert!(!record.is_object() || record["category"] == "kube-audit"),
        }
    }
}
