//! Whatever a log shipper, a queue or a cloud puts a record into, and whatever stands before it on its line: it is found, once,
//! and its alerts are those of the plain form, ids included.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::envelopes::{Wrap, assert_same, gzip, lines, sample_lines, value, zstd};
use crate::support::{Run, run_accounted};

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
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
