//! Properties of any record: it has an outcome, and rules can read its event.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use portcullis_event::json::{self, Raw};
use portcullis_event::{Buffers, Event, Outcome, normalize};
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

/// Checks that the schema describes each member of an event, and that each required member is present.
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

/// Generates JSON of any shape that often contains the names and values of records.
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

/// Generates JSON with unusual or invalid parts: white space, escapes, all kinds of numbers, and changed, doubled or
/// missing characters.
fn nearly_json() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        " ",
        "\n",
        "\t",
        "\r",
        "\u{b}",
        "\u{1}",
        "\u{1a}",
        "\u{c}",
        "\0",
        "\u{7f}",
        "é",
        "😀",
        "\"a\"",
        "\"b\":",
        "\"\\\"\"",
        "\"\\\\\"",
        "\\u00e9",
        "\\ud800",
        "\\u12",
        "\\x",
        "null",
        "true",
        "false",
        "nul",
        "NaN",
        "0",
        "-0",
        "01",
        "1",
        "-",
        "+1",
        "1.5",
        "1.",
        ".5",
        "1e5",
        "1E+5",
        "1e",
        "1e-",
        "-1.0e-7",
        "99999999999999999999",
        "{}",
        "[]",
        "[1,2]",
        "{\"a\":[{}]}",
        // Longer than a block.
        "\"................................................................................\"",
        "                                                                              ",
    ]);
    let mixed = prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat());
    let changed = (
        any_value(),
        any::<bool>(),
        prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<char>()), 0..3),
    );
    let changed = changed.prop_map(|(value, pretty, changes)| {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let mut text: Vec<char> = text.expect("JSON").chars().collect();
        for (place, what, character) in changes {
            let place = place.index(text.len());
            match what {
                0 => drop(text.remove(place)),
                1 => text[place] = character,
                2 => text.insert(place, text[place]),
                _ => text.truncate(place),
            }
            if text.is_empty() {
                text.push(character);
            }
        }
        text.into_iter().collect()
    });
    prop_oneof![mixed, changed]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// This crate and `serde_json` accept the same texts as JSON, and read the same values.
    #[test]
    fn json_is_what_serde_json_accepts(text in nearly_json(), shift in 0..70_usize, wrapped in any::<bool>()) {
        // JSON without white space is validated by different code.
        let text =
            if wrapped { format!("{{\"{}\":{text}}}", "n".repeat(shift)) } else { " ".repeat(shift) + &text };
        let theirs = serde_json::from_str::<&RawValue>(&text);
        match Raw::new(&text) {
            Ok(ours) => prop_assert_eq!(ours.get(), theirs.expect("JSON").get()),
            Err(error) => {
                let why = theirs.err().map(|error| error.to_string());
                prop_assert_eq!(why, Some(error.to_string()));
            }
        }
        let members = serde_json::from_str::<BTreeMap<String, &RawValue>>(&text);
        if let Ok(theirs) = members {
            let ours = json::members(&text, ["a", "b", "kind", "user"]).expect("an object");
            let known = json::object(Raw::new(&text).ok(), ["a", "b", "kind", "user"]).present();
            prop_assert_eq!(known, Some(ours));
            for (name, ours) in ["a", "b", "kind", "user"].into_iter().zip(ours) {
                prop_assert_eq!(ours.map(Raw::get), theirs.get(name).map(|raw| raw.get()));
            }
        }
        if let Ok(theirs) = serde_json::from_str::<Vec<&RawValue>>(&text) {
            let ours = json::items(Raw::new(&text).expect("JSON"), usize::MAX).expect("a list");
            let texts = |raw: &[&str]| raw.join(" | ");
            prop_assert_eq!(
                texts(&ours.iter().map(|raw| raw.get()).collect::<Vec<_>>()),
                texts(&theirs.iter().map(|raw| raw.get()).collect::<Vec<_>>())
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// An event is read with any value in it, and what is nearly one is refused or read.
    #[test]
    fn an_event_is_read_around_any_value(text in nearly_json(), shift in 0..70_usize) {
        let event = |member: &str| {
            let space = " ".repeat(shift);
            format!("{{{space}\"logType\":\"Amazon.EKS.Audit\",\"{member}\":{text},\"sourceScope\":\"none\",\"verb\":\"get\"}}")
        };
        let (json, other) = (event("requestObject"), event("addedLater"));
        let (with, without) = (Event::from_json(&json), Event::from_json(&other));
        if let Ok(value) = Raw::new(&text) {
            let (with, without) = (with.expect("an event"), without.expect("an event"));
            prop_assert_eq!(with.request_object, Some(value));
            prop_assert_eq!(with.verb.as_deref(), Some("get"));
            prop_assert_eq!(without.verb.as_deref(), Some("get"));
        }
        for member in ["verb", "sourceIPs", "asn", "responseStatus", "malformed"] {
            let _ = Event::from_json(&event(member));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_have_an_outcome(record in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = normalize(&record, &mut Buffers::default());
    }

    /// A record's outcome does not depend on the records that were read into the buffers before.
    #[test]
    fn old_content_of_buffers_changes_nothing(
        records in prop::collection::vec((any_value(), any::<bool>(), 0..300_usize), 2..6),
    ) {
        let mut kept = Buffers::default();
        for (mut record, is_azure, length) in records {
            if let Some(members) = record.as_object_mut() {
                members.insert("requestURI".to_owned(), "x".repeat(length).into());
            }
            if is_azure {
                let log = record.to_string();
                record = serde_json::json!({"category": "kube-audit", "properties": {"log": log}});
            }
            let text = record.to_string();
            let with_new = format!("{:?}", normalize(text.as_bytes(), &mut Buffers::default()));
            prop_assert_eq!(format!("{:?}", normalize(text.as_bytes(), &mut kept)), with_new);
        }
    }

    #[test]
    fn an_object_is_rejected_only_for_azures_text_and_its_event_survives_json(
        mut record in any_value(),
        log_type in prop::sample::select(vec!["Amazon.EKS.Audit", "Azure.MonitorActivity", "GCP.AuditLog", ""]),
    ) {
        if let Some(members) = record.as_object_mut() {
            members.insert("p_log_type".to_owned(), log_type.into());
        }
        let text = record.to_string();
        let mut buffers = Buffers::default();
        match normalize(text.as_bytes(), &mut buffers) {
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
