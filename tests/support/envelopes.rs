//! The envelopes that clouds and their tools put records into.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Run, project};

/// The records of the samples, and of the parity corpus, each on its line.
pub(crate) fn sample_lines() -> Vec<String> {
    lines(&["samples/eks.ndjson", "samples/aks.ndjson", "samples/gke.ndjson"])
}

pub(crate) fn lines(files: &[&str]) -> Vec<String> {
    let text = |file: &&str| fs::read_to_string(project("fixtures").join(file)).expect(file);
    files.iter().flat_map(|file| text(file).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

pub(crate) type Wrap = fn(&[String]) -> String;

/// Every envelope, by the tool or service that writes it.
pub(crate) const ENVELOPES: [(&str, Wrap); 18] = [
    ("lines that end as on Windows", |lines| lines.join("\r\n")),
    ("an array", |lines| format!("[{}]", lines.join(","))),
    ("an array with an item a line", |lines| format!("[\n{}\n]\n", lines.join(",\n"))),
    ("an indented array, as of gcloud logging read", |lines| pretty(&Value::Array(values(lines)))),
    ("indented documents, as of jq", |lines| lines.iter().map(|line| pretty(&value(line)) + "\n").collect()),
    ("documents one after the other", |lines| lines.concat()),
    ("an EventList", |lines| {
        let head = r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#;
        format!("{head}{}]}}", lines.join(","))
    }),
    ("an indented EventList with its members sorted, as of jq -S", |lines| {
        pretty(&json!({"apiVersion": "audit.k8s.io/v1", "items": values(lines), "kind": "EventList"}))
    }),
    ("CloudWatch subscriptions with text", |lines| cloudwatch(lines, |line| line.into())),
    ("CloudWatch subscriptions with objects", |lines| cloudwatch(lines, value)),
    ("CloudWatch subscriptions through Firehose, without line ends", |lines| {
        cloudwatch(lines, |line| line.into()).replace('\n', "")
    }),
    ("CloudWatch export", |lines| {
        lines.iter().fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "2026-11-18T10:00:00.123Z {line}");
            text
        })
    }),
    ("aws logs tail", |lines| {
        lines
            .iter()
            .map(|line| format!("2026-11-18T10:00:00.123000+00:00 kube-apiserver-audit-1a2b {line}\n"))
            .collect()
    }),
    ("aws logs tail --format short", |lines| {
        lines.iter().map(|line| format!("2026-11-18T10:00:00 {line}\n")).collect()
    }),
    ("aws logs filter-log-events", |lines| {
        let event =
            |line: &String| json!({"logStreamName": "kube-apiserver-audit-1a2b", "timestamp": 0, "message": line});
        pretty(&json!({"events": lines.iter().map(event).collect::<Vec<_>>(), "searchedLogStreams": []}))
    }),
    ("Azure Event Hubs", |lines| {
        lines.chunks(5).map(|lines| format!("{{\"records\": [{}]}}\n", lines.join(", "))).collect()
    }),
    ("Cloud Logging's API", |lines| json!({"entries": values(lines), "nextPageToken": "a"}).to_string()),
    ("Pub/Sub messages, as of gcloud pubsub subscriptions pull", |lines| {
        let message = |line: &String| {
            let data = BASE64_STANDARD.encode(line);
            json!({"ackId": "a", "message": {"attributes": {}, "data": data, "messageId": "1"}})
        };
        pretty(&lines.iter().map(message).collect())
    }),
];

pub(crate) fn value(line: &str) -> Value {
    serde_json::from_str(line).expect(line)
}

pub(crate) fn values(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| value(line)).collect()
}

pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON")
}

pub(crate) fn cloudwatch(lines: &[String], message: fn(&str) -> Value) -> String {
    let document = |lines: &[String]| {
        let event = |line: &String| json!({"id": "38", "timestamp": 1_763_460_000_123_u64, "message": message(line)});
        json!({
            "messageType": "DATA_MESSAGE",
            "owner": "714025583911",
            "logGroup": "/aws/eks/shop/cluster",
            "logStream": "kube-apiserver-audit-1a2b",
            "subscriptionFilters": ["all"],
            "logEvents": lines.iter().map(event).collect::<Vec<_>>(),
        })
    };
    lines.chunks(7).map(|lines| document(lines).to_string() + "\n").collect()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("compressed")
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("compressed")
}

/// The same twice over, in two members or frames, as when such files are appended to one another.
pub(crate) fn halves(bytes: &[u8], compress: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    [compress(first), compress(second)].concat()
}

/// A line of the ledger without what tells where its record stood.
pub(crate) fn verdicts(line: &Value) -> Value {
    let mut line = line.clone();
    for name in ["place", "reason", "audit_id"] {
        line.as_object_mut().expect("an object").remove(name);
    }
    line
}

pub(crate) fn assert_same(found: &Run, expected: &Run, what: &str) {
    assert_eq!(found.ended.code, Some(0), "{what}: {}", found.ended.stderr);
    assert_eq!(found.ledger.len(), expected.ledger.len(), "{what}");
    for (found, expected) in found.ledger.iter().zip(&expected.ledger) {
        assert_eq!(verdicts(found), verdicts(expected), "{what}");
    }
    assert_eq!(found.alerts.len(), expected.alerts.len(), "{what}");
    for (found, expected) in found.alerts.iter().zip(&expected.alerts) {
        assert_eq!(found, expected, "{what}");
    }
}
