//! Whatever a log shipper, a queue or a cloud puts a record into, and whatever stands before it on its line: it is found, once,
//! and its alerts are those of the plain form, ids included.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use portcullis::read::{Documents, Records};
use portcullis_event::Outcome;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::envelopes::{Wrap, assert_same, gzip, lines, sample_lines, value, zstd};
use crate::support::{Ended, Run, run_accounted, spawn, status};

fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// A document for each line.
fn each(lines: &[String], document: impl Fn(&str) -> Value) -> String {
    prefixed(lines, |line| document(line).to_string())
}

fn prefixed(lines: &[String], document: impl Fn(&str) -> String) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{}", document(line));
        text
    })
}

/// A value as OpenTelemetry's JSON has it.
fn otlp(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(value) => json!({"boolValue": value}),
        Value::Number(number) if number.is_f64() => json!({"doubleValue": number}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::String(text) => json!({"stringValue": text}),
        Value::Array(items) => json!({"arrayValue": {"values": items.iter().map(otlp).collect::<Vec<_>>()}}),
        Value::Object(members) => {
            let pair = |(key, value): (&String, &Value)| json!({"key": key, "value": otlp(value)});
            json!({"kvlistValue": {"values": members.iter().map(pair).collect::<Vec<_>>()}})
        }
    }
}

fn cloudwatch(line: &str) -> String {
    json!({
        "messageType": "DATA_MESSAGE", "owner": "714025583911", "logGroup": "/aws/eks/shop/cluster",
        "logStream": "kube-apiserver-audit-1a2b", "subscriptionFilters": ["all"],
        "logEvents": [{"id": "38", "timestamp": 1_763_460_000_123_u64, "message": line}],
    })
    .to_string()
}

/// Every envelope, by who writes it, with one record in each document.
const ENVELOPES: [(&str, Wrap); 45] = [
    ("Firehose's HTTP endpoint", |lines| {
        each(
            lines,
            |line| json!({"requestId": "ed4a", "timestamp": 1, "records": [{"data": base64(gzip(cloudwatch(line).as_bytes()))}]}),
        )
    }),
    ("Firehose's HTTP endpoint without compression", |lines| {
        each(lines, |line| json!({"requestId": "ed4a", "records": [{"data": base64(line)}]}))
    }),
    ("a function that reads Kinesis", |lines| {
        each(lines, |line| {
            json!({"Records": [{
                "kinesis": {"partitionKey": "1", "data": base64(gzip(cloudwatch(line).as_bytes()))}, "eventSource": "aws:kinesis",
                "eventVersion": "1.0", "eventName": "aws:kinesis:record", "awsRegion": "eu-west-1",
            }]})
        })
    }),
    ("a function that reads CloudWatch Logs", |lines| {
        each(lines, |line| json!({"awslogs": {"data": base64(gzip(cloudwatch(line).as_bytes()))}}))
    }),
    ("docker's json-file", |lines| {
        each(lines, |line| json!({"log": format!("{line}\n"), "stream": "stdout", "time": "2026-11-18T09:00:00.3Z"}))
    }),
    ("a container runtime's log", |lines| {
        prefixed(lines, |line| format!("2026-11-18T09:00:00.300000000Z stdout F {line}"))
    }),
    ("a container runtime's log, in docker's json-file", |lines| {
        each(lines, |line| json!({"log": format!("2026-11-18T09:00:00.3Z stdout F {line}"), "stream": "stdout"}))
    }),
    ("Fluent Bit with Merge_Log", |lines| {
        each(
            lines,
            |line| json!({"log": line, "stream": "stdout", "log_processed": value(line), "kubernetes": {"pod_name": "a"}}),
        )
    }),
    ("Fluent Bit with a parser", |lines| each(lines, |line| json!({"log": value(line), "stream": "stdout"}))),
    ("Fluentd, tag and time before the record", |lines| {
        prefixed(lines, |line| format!("2026-11-18T09:00:00+00:00\tkube.audit\t{line}"))
    }),
    ("Splunk's HTTP event collector", |lines| {
        each(lines, |line| json!({"time": 1, "sourcetype": "kube:apiserver:audit", "event": value(line)}))
    }),
    ("Splunk's HTTP event collector, with text", |lines| each(lines, |line| json!({"time": 1, "event": line}))),
    ("Splunk's export", |lines| {
        each(
            lines,
            |line| json!({"preview": false, "offset": 0, "result": {"_raw": line, "_time": "2026-11-18 09:00:00"}}),
        )
    }),
    ("Elasticsearch's scroll", |lines| {
        each(
            lines,
            |line| json!({"took": 1, "hits": {"total": {"value": 1}, "hits": [{"_id": "1", "_source": value(line)}]}}),
        )
    }),
    ("a dump of Elasticsearch", |lines| {
        each(lines, |line| json!({"_index": "audit", "_id": "1", "_source": value(line)}))
    }),
    ("Elastic's event.original", |lines| {
        each(lines, |line| json!({"@timestamp": "2026-11-18T09:00:00Z", "event": {"original": line, "kind": "event"}}))
    }),
    ("Elastic's kubernetes.audit beside event.original", |lines| {
        each(lines, |line| json!({"event": {"original": line}, "kubernetes": {"audit": value(line)}}))
    }),
    ("Elastic's kubernetes.audit", |lines| {
        each(lines, |line| json!({"@timestamp": "2026-11-18T09:00:00Z", "kubernetes": {"audit": value(line)}}))
    }),
    ("Cloud Logging's jsonPayload", |lines| {
        each(
            lines,
            |line| json!({"insertId": "i", "jsonPayload": value(line), "logName": "projects/p/logs/a", "resource": {"labels": {}}}),
        )
    }),
    ("Cloud Logging's textPayload", |lines| {
        each(
            lines,
            |line| json!({"insertId": "i", "textPayload": line, "logName": "projects/p/logs/a", "resource": {}}),
        )
    }),
    ("CloudEvents", |lines| {
        each(
            lines,
            |line| json!({"specversion": "1.0", "type": "audit", "source": "/a", "id": "1", "data": value(line)}),
        )
    }),
    ("CloudEvents in base64", |lines| {
        each(lines, |line| json!({"specversion": "1.0", "type": "audit", "id": "1", "data_base64": base64(line)}))
    }),
    ("a batch of CloudEvents", |lines| {
        each(lines, |line| json!([{"specversion": "1.0", "id": "1", "data": value(line)}]))
    }),
    ("OpenTelemetry's logs", |lines| {
        each(lines, |line| {
            let record = json!({"timeUnixNano": "1", "body": {"stringValue": line}, "attributes": [{"key": "a", "value": {"stringValue": "b"}}]});
            json!({"resourceLogs": [{"resource": {"attributes": []}, "scopeLogs": [{"scope": {}, "logRecords": [record]}]}]})
        })
    }),
    ("OpenTelemetry's logs, whose bodies a collector has parsed", |lines| {
        each(lines, |line| {
            let record = json!({"timeUnixNano": "1", "body": otlp(&value(line)), "attributes": []});
            json!({"resourceLogs": [{"scopeLogs": [{"scope": {}, "logRecords": [record]}]}]})
        })
    }),
    ("OpenTelemetry's logs, parsed into attributes", |lines| {
        each(lines, |line| {
            let record =
                json!({"body": {"stringValue": "audit"}, "attributes": otlp(&value(line))["kvlistValue"]["values"]});
            json!({"resourceLogs": [{"resource": {"attributes": [{"key": "a", "value": {"stringValue": "b"}}]}, "scopeLogs": [{"logRecords": [record]}]}]})
        })
    }),
    ("Loki's push API", |lines| {
        each(
            lines,
            |line| json!({"streams": [{"stream": {"job": "audit"}, "values": [["1763460000000000000", line]]}]}),
        )
    }),
    ("Loki's answer to a query", |lines| {
        each(lines, |line| {
            let result = json!({"stream": {"job": "audit"}, "values": [["1763460000000000000", line]]});
            json!({"status": "success", "data": {"resultType": "streams", "result": [result]}})
        })
    }),
    ("Datadog's archive", |lines| {
        each(
            lines,
            |line| json!({"_id": "A", "date": "2026-11-18", "service": "audit", "attributes": value(line), "message": ""}),
        )
    }),
    ("Datadog's intake", |lines| {
        each(lines, |line| json!([{"ddsource": "kubernetes.audit", "message": line, "ddtags": "a:b"}]))
    }),
    ("GELF", |lines| {
        each(
            lines,
            |line| json!({"version": "1.1", "host": "h", "short_message": "audit", "full_message": line, "_a": "b"}),
        )
    }),
    ("journald", |lines| {
        each(
            lines,
            |line| json!({"__CURSOR": "s=1", "_SYSTEMD_UNIT": "kube-apiserver.service", "MESSAGE": line, "PRIORITY": "6"}),
        )
    }),
    ("CloudWatch Logs Insights' results", |lines| {
        each(lines, |line| {
            let row = json!([
                {"field": "@timestamp", "value": "2026-11-18 09:00:00.000"}, {"field": "@message", "value": line},
                {"field": "@ptr", "value": "CmAKJwojNzE0"},
            ]);
            json!({"results": [row], "status": "Complete", "statistics": {"recordsMatched": 1.0}})
        })
    }),
    ("Event Hubs capture, as JSON", |lines| {
        each(lines, |line| {
            let body = format!("{{\"records\": [{line}]}}");
            json!({"SequenceNumber": 1, "Offset": "0", "EnqueuedTimeUtc": "11/18/2026", "SystemProperties": {}, "Body": base64(body)})
        })
    }),
    ("Event Hubs' bodies as text", |lines| {
        each(lines, |line| json!({"SequenceNumber": 1, "Body": format!("{{\"records\": [{line}]}}")}))
    }),
    ("Kafka Connect", |lines| {
        each(lines, |line| json!({"topic": "audit", "partition": 0, "offset": 1, "key": null, "value": line}))
    }),
    ("Vector", |lines| {
        each(
            lines,
            |line| json!({"file": "/var/log/audit.log", "host": "h", "message": line, "source_type": "file", "timestamp": "t"}),
        )
    }),
    ("oc adm node-logs", |lines| prefixed(lines, |line| format!("ip-10-0-1-9.ec2.internal {line}"))),
    ("kubectl logs --prefix", |lines| {
        prefixed(lines, |line| format!("[pod/kube-apiserver-cp1/kube-apiserver] {line}"))
    }),
    ("syslog, RFC 3164", |lines| prefixed(lines, |line| format!("<134>Nov 18 09:00:00 cp1 kube-audit[12]: {line}"))),
    ("syslog, RFC 5424", |lines| {
        prefixed(lines, |line| {
            format!("<134>1 2026-11-18T09:00:00.003Z cp1 audit 12 ID47 [a@1 b=\"c\"] \u{feff}{line}")
        })
    }),
    ("JSON in a string", |lines| prefixed(lines, |line| Value::from(line).to_string())),
    ("lines of base64", |lines| prefixed(lines, |line| base64(line))),
    ("base64 for addresses of what zstd has compressed", |lines| {
        each(lines, |line| json!({"payload": BASE64_URL_SAFE_NO_PAD.encode(zstd(line.as_bytes()))}))
    }),
    ("several in one text of base64", |lines| {
        lines
            .chunks(7)
            .map(|lines| json!({"data": base64(gzip(lines.join("\n").as_bytes()))}).to_string() + "\n")
            .collect()
    }),
];

#[test]
fn each_sample_in_each_envelope_gives_the_same_ledger_and_alerts() {
    let lines = sample_lines();
    let expected = run_accounted(lines.join("\n").as_bytes(), &[]);
    for (name, wrap) in ENVELOPES {
        assert_same(&run_accounted(wrap(&lines).as_bytes(), &[]), &expected, name);
        assert_same(&run_accounted(&gzip(wrap(&lines).as_bytes()), &[]), &expected, name);
    }
}

/// Those of its records that some carrier cannot be told from: what is no record, in an envelope is no more than the envelope.
#[test]
fn each_record_of_the_parity_corpus_in_each_envelope_gives_the_same_alerts() {
    // A fourth of them in each, and another fourth in the next.
    let all = lines(&["parity/events.ndjson"]);
    let parts: Vec<Vec<String>> = (0..4).map(|n| all.iter().skip(n).step_by(4).cloned().collect()).collect();
    let of_parts: Vec<Run> = parts.iter().map(|lines| run_accounted(lines.join("\n").as_bytes(), &[])).collect();
    for (n, (name, wrap)) in ENVELOPES.into_iter().enumerate() {
        let (lines, expected) = (&parts[n % 4], &of_parts[n % 4]);
        let found = run_accounted(wrap(lines).as_bytes(), &[]);
        assert_eq!(found.ended.code, Some(0), "{name}: {}", found.ended.stderr);
        assert_eq!(found.alerts, expected.alerts, "{name}");
        let evaluated = |run: &Run| run.ledger.iter().filter(|line| line["outcome"] == "evaluated").count();
        assert_eq!(evaluated(&found), evaluated(expected), "{name}");
    }
}

/// One step of an envelope.
#[derive(Clone, Debug)]
enum Step {
    Member(&'static str),
    Text(&'static str),
    Item(usize, usize),
    Base64,
    Gzip,
    Zstd,
    Prefix(&'static str),
    Quoted,
}

fn step() -> impl Strategy<Value = Step> {
    let name =
        prop::sample::select(vec!["log", "message", "a b", "data", "items", "records", "_source", "user", "kind", ""]);
    let prefix = prop::sample::select(vec!["word ", "[a/b] ", "2026-11-18T09:00:00Z stdout F ", "a: ", "<13>x{1}: "]);
    prop_oneof![
        name.clone().prop_map(Step::Member),
        name.prop_map(Step::Text),
        (0..3_usize, 0..3_usize).prop_map(|(before, behind)| Step::Item(before, behind)),
        Just(Step::Base64),
        Just(Step::Gzip),
        Just(Step::Zstd),
        prefix.prop_map(Step::Prefix),
        Just(Step::Quoted),
    ]
}

/// A text in one more envelope. What is no JSON can stand in a text only.
fn wrapped(text: &str, step: &Step) -> String {
    let is_json = serde_json::from_str::<Value>(text).is_ok();
    let json = if is_json { text.to_owned() } else { Value::from(text).to_string() };
    match step {
        Step::Member(name) => format!("{{\"x\":5,{}:{json},\"y\":[\"z\"]}}", Value::from(*name)),
        Step::Text(name) => json!({"x": 5, *name: text, "y": null}).to_string(),
        Step::Item(before, behind) => {
            let items = [vec!["[]".to_owned(); *before], vec![json], vec!["[]".to_owned(); *behind]].concat();
            format!("[{}]", items.join(", "))
        }
        // Of what is no JSON it is not known.
        Step::Base64 if text.starts_with(['{', '[']) => Value::from(base64(text)).to_string(),
        Step::Gzip => json!({"data": base64(gzip(text.as_bytes()))}).to_string(),
        Step::Zstd => json!({"data": base64(zstd(text.as_bytes()))}).to_string(),
        // It stands before an object.
        Step::Prefix(prefix) if text.starts_with('{') => format!("{prefix}{text}"),
        Step::Base64 | Step::Prefix(_) => text.to_owned(),
        Step::Quoted => Value::from(text).to_string(),
    }
}

/// What an input holds: of each record that is not rejected its event's identity, if it is one.
fn found(input: &str) -> Vec<Option<Vec<u8>>> {
    let (mut documents, mut records, mut found) = (Documents::new(input.as_bytes()), Records::default(), Vec::new());
    while let Some(document) = documents.next_document().expect("it is in memory") {
        let done = records.for_each(&document, &mut |_, outcome| {
            match outcome {
                Outcome::Evaluated(event) => found.push(Some(event.identity())),
                Outcome::Ignored(_) => found.push(None),
                Outcome::Rejected(_) => {}
            }
            Ok::<(), ()>(())
        });
        assert_eq!(done, Ok(()));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any record, in any envelopes in one another, is found once; and whatever stands inside of a record is only that.
    #[test]
    fn a_record_in_envelopes_is_found_once_and_one_in_a_record_never(
        outside in prop::collection::vec(step(), 0..5),
        inside in prop::collection::vec(step(), 0..5),
        number in 0..25_usize,
    ) {
        let records = sample_lines();
        let inner = inside.iter().fold(records[0].clone(), |text, step| wrapped(&text, step));
        let mut record = value(&records[number]);
        record["requestObject"] = json!({"spec": {"type": "NodePort"}, "x": inner});
        record["annotations"] = json!({"a": inner});
        if let Some(payload) = record.get_mut("protoPayload") {
            payload["request"] = serde_json::from_str(&inner).unwrap_or(Value::Null);
        }
        let plain = found(&record.to_string());
        prop_assert_eq!(plain.len(), 1);
        let text = outside.iter().fold(record.to_string(), |text, step| wrapped(&text, step));
        prop_assert_eq!(found(&text), plain, "{}", text);
    }
}

/// Runs the command; how it ended, and the most memory that it had, in KB.
fn run_and_peak<'a>(args: impl IntoIterator<Item = &'a str>) -> (Ended, u64) {
    let mut child = spawn(args);
    drop(child.stdin.take());
    let mut peak = 0;
    while child.try_wait().expect("a child").is_none() {
        peak = peak.max(status(child.id(), "VmHWM:"));
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    (child.wait_with_output().expect("it has ended").into(), peak)
}

/// What costs time in proportion to a text's length for one byte does so for each: 60 MB of it end, in bounded memory.
#[test]
fn a_long_text_of_anything_is_searched_in_time_and_memory_that_follow_its_length() {
    let length = 60_000_000;
    let nested = |depth: usize| {
        (0..depth).fold("x".repeat(1_000_000), |text, _| format!("{{\"a\":{},\"b\":\"c", Value::from(text)))
    };
    for (name, text) in [
        ("base64", format!("{{\"data\":\"eyJ{}\"}}", "A".repeat(length))),
        ("backslashes", format!("{{\"log\":\"{}\"}}", "\\\\".repeat(length / 2))),
        ("quotes in a text", format!("{{\"log\":\"{{{}\"}}", "\\\"".repeat(length / 2))),
        ("objects that begin in a text", format!("{{\"log\":\"{}\"}}", "x{\\\"".repeat(length / 4))),
        ("brackets", format!("{{\"log\":\"{}\"}}", "[".repeat(length))),
        ("lines in a text", format!("{{\"log\":\"{}\"}}", "a\\n".repeat(length / 3))),
        ("numbers in a list", format!("{{\"a\":[{}1]}}", "1,".repeat(length / 2))),
        ("texts in texts, each cut off", nested(12)),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("long.json");
        std::fs::write(&file, &text).expect("written");
        let (ended, peak) = run_and_peak(["run", "--threads", "1", file.to_str().expect("UTF-8")]);
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains("1 records = 0 evaluated"), "{name}: {}", ended.stderr);
        assert!(peak < 1_300_000, "{name}: {peak} KB");
    }
}
