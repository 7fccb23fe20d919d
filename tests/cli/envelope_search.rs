//! The search of envelopes: whatever is put into whatever, a record is found once, in bounded time and memory.

use portcullis::read::{Documents, Records};
use portcullis_event::Outcome;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::envelopes::base64;
use crate::support::envelopes::{gzip, sample_lines, value, zstd};
use crate::support::{Ended, spawn, status};

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
