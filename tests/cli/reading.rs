//! Whatever a cloud wraps its records into, and however it compresses them, they are judged as they are on lines.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::support::envelopes::{ENVELOPES, assert_same, gzip, halves, lines, pretty, sample_lines, value, zstd};
use crate::support::{Run, project, run, run_accounted, sample, spawn, status};

#[test]
fn each_sample_in_each_envelope_and_compression_gives_the_same_ledger_and_alerts() {
    let lines = sample_lines();
    let expected = run_accounted(lines.join("\n").as_bytes(), &[]);
    assert!(expected.alerts.len() > 10);
    for (name, wrap) in ENVELOPES {
        let plain = wrap(&lines).into_bytes();
        let compressions = [
            ("plain", plain.clone()),
            ("gzip", gzip(&plain)),
            ("gzip in gzip", gzip(&gzip(&plain))),
            ("two gzip members", halves(&plain, gzip)),
            ("zstd", zstd(&plain)),
            ("two zstd frames", halves(&plain, zstd)),
            ("a skippable zstd frame first", [b"\x5a\x2a\x4d\x18\x02\0\0\0ab".to_vec(), zstd(&plain)].concat()),
        ];
        for (compression, input) in compressions {
            assert_same(&run_accounted(&input, &[]), &expected, &format!("{name}, {compression}"));
        }
    }
}

#[test]
fn each_record_of_the_parity_corpus_in_each_envelope_gives_the_same_ledger() {
    let lines = lines(&["parity/events.ndjson"]);
    let expected = run_accounted(lines.join("\n").as_bytes(), &[]);
    // In an EventList what says nothing of itself is an audit event all the same.
    let records = |run: &Run| run.ledger.iter().map(|line| line["outcome"] != "ignored").collect::<Vec<_>>();
    let is_record = records(&expected);
    let known: Vec<String> = lines.iter().zip(is_record).filter(|(_, is)| *is).map(|(line, _)| line.clone()).collect();
    let expected_of_known = run_accounted(known.join("\n").as_bytes(), &[]);
    for (name, wrap) in ENVELOPES {
        let (lines, expected) =
            if name.contains("EventList") { (&known, &expected_of_known) } else { (&lines, &expected) };
        assert_same(&run_accounted(wrap(lines).as_bytes(), &[]), expected, name);
    }
}

/// Files as each cloud writes them, with what is in them: alerts, and places of what is broken.
#[test]
fn each_clouds_files_are_read_as_they_are() {
    let plain = run_accounted(sample_lines().join("\n").as_bytes(), &[]).alerts;
    let folder = project("fixtures/envelopes");
    let mut files: Vec<_> =
        fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let mut text = String::new();
    for file in files {
        let found = run_accounted(&fs::read(&file).expect("the file"), &[]);
        assert!(found.alerts.iter().all(|alert| plain.contains(alert)), "{}: as of the plain form", file.display());
        let _ = writeln!(text, "{}", file.file_name().expect("a name").display());
        for (n, line) in found.ledger.iter().enumerate() {
            let _ = write!(text, "    {n} {}", line["outcome"].as_str().expect("an outcome"));
            for rule in [crate::support::NODEPORT, crate::support::SYSTEM_PRINCIPAL] {
                let _ = write!(text, " {}", found.verdict(n, rule));
            }
            text.push('\n');
        }
        for reject in &found.rejects {
            let _ = writeln!(text, "    {}: {}", reject["place"].as_str().expect("a place"), reject["reason"]);
        }
    }
    insta::assert_snapshot!(text);
}

/// Where [`indented`] cuts an item off.
const CUT_HERE: &str = r#"{"kind": "Event", "cut": 1}"#;

/// An array as `gcloud logging read` writes it.
fn indented(items: &[&str]) -> String {
    let text = pretty(&items.iter().map(|item| value(item)).collect());
    text.replace(",\n    \"cut\": 1\n  },", ",\n    \"cut\":").replace("\"cut\": 1\n  }", "\"cut\":")
}

/// However odd, it is JSON, and every record is there.
#[test]
fn line_ends_in_json_may_stand_anywhere() {
    let mut record = value(&sample_lines().swap_remove(0));
    record["annotations"] = json!({"list": [{}, {}], "more": {"a": {}}});
    let expected = run_accounted(record.to_string().as_bytes(), &[]).alerts;
    assert_eq!(expected.len(), 1);
    let unindented: String = pretty(&record).lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let brackets: String = unindented
        .lines()
        .map(|line| line.strip_suffix(" {").map_or_else(|| format!("{line}\n"), |name| format!("{name}\n{{\n")))
        .collect();
    for text in [unindented, brackets, pretty(&record).replace('\n', "\r\n"), pretty(&record).replace('\n', "\n\n")] {
        for text in [text.clone(), format!("[{text}]"), format!("{{\"items\":\n[\n{text}]\n}}")] {
            let run = run_accounted(text.as_bytes(), &[]);
            assert_eq!((run.ledger.len(), &run.alerts), (1, &expected), "{text}");
        }
    }
}

#[test]
fn files_that_were_joined_may_have_a_byte_order_mark_in_the_middle() {
    let lines = sample_lines().join("\n");
    let run = run_accounted(format!("\u{feff}{lines}\n\u{feff}{lines}\n").as_bytes(), &[]);
    assert_eq!(run.rejects.iter().filter(|reject| reject["outcome"] == "rejected").count(), 0);
}

/// In each envelope of JSON a record that is no object, one that is no JSON, and one that is cut off: the others are judged.
#[test]
fn a_broken_item_is_rejected_with_its_place_and_the_others_are_judged() {
    let good = sample_lines().swap_remove(0);
    let quoted = |text: &str| Value::from(text).to_string();
    let cut = &good[..good.len() - 20];
    for (name, input, places) in [
        ("lines", format!("{good}\n{cut}\n{good}\nNaN\n{good}\n"), &["2", "4"][..]),
        (
            "lines cut where a value may follow",
            format!("{good}\n{{\"a\":\n{good}\n{{\"a\":[\n{good}\n{{\"a\":[1,\n{good}"),
            &["2", "4", "6"],
        ),
        ("lines cut in a text", format!("{good}\n{{\"a\":\"\\\n{good}\n{{\"\n{good}\n"), &["2", "4"]),
        ("an array", format!("[{good},5,{good},{{\"a\":NaN}},{good},nul]"), &["1 [1]", "1 [3]", "1 [5]"]),
        (
            "an array with an item a line",
            format!("[\n{good},\n{cut},\n{good},\n{{\"a\":\n{good}\n]"),
            &["3 [1]", "5 [3]"],
        ),
        ("an indented array", format!("[\n  {good},\n  {{\n    \"a\": tru\n  }},\n  {good}\n]"), &["3 [1]"]),
        ("an indented array with an item cut off", indented(&[&good, CUT_HERE, &good, &good]), &["91 [1]"]),
        (
            "an indented array with a bracket missing",
            indented(&[&good, &good, &good]).replacen("\n  },", "\n  ,", 1),
            &["2 [0]"],
        ),
        (
            "an array with an item without its beginning",
            format!("[{good},{},{good},{good}]", &good[good.find("nd\"").expect("kind")..]),
            &["1 [1]"],
        ),
        ("an array with words", format!("[{good},some words, more,{good},12,{good}]"), &["1 [1]", "1 [3]"]),
        ("an array with words on a line", format!("[\n{good},\nsome words,\n{good}]"), &["3 [1]"]),
        (
            "a list that goes on in lines of its own",
            format!("{{\"records\":[{good}\n,{good}\n]}}"),
            &["1 records[1]", "3"],
        ),
        ("an array that is not closed", format!("[{good},{good}"), &["1 [2]"]),
        ("an item with a wrong bracket", format!("[{good},{{\"a\":[1}},{good}]"), &["1 [1]"]),
        ("documents one after the other", format!("{good}{{\"a\":NaN}}{good}"), &["1:1863"]),
        ("EventList", format!("{{\"items\":[{good},[],[5],{good}],\"kind\":\"EventList\"}}"), &["1 items[2]"]),
        ("an EventList that is cut off", format!("{{\"items\":[{good},{good},{cut}"), &["1 items[2]"]),
        (
            "an EventList that is cut off, and another",
            format!("{{\"items\":[{good}],\"k\n{{\"items\":[{good}]}}"),
            &["2 items[1]"],
        ),
        (
            "CloudWatch",
            format!(
                r#"{{"logEvents":[{{"message":{0}}},{{"message":"E1118 no JSON"}},{{"message":{0}}}]}}"#,
                quoted(&good)
            ),
            &[],
        ),
        (
            "CloudWatch export",
            format!("2026-11-18T10:00:00Z {good}\n2026-11-18T10:00:00Z {cut}\n2026-11-18T10:00:01Z\n{good}\n"),
            &["2", "3"],
        ),
        (
            "Azure",
            format!(r#"{{"records":[{good},{{"category":"kube-audit","properties":{{"log":"no"}}}},{good}]}}"#),
            &["1 records[1]"],
        ),
        ("Cloud Logging", format!("{{\"entries\": [\n{good},\n\"text\",\n{good}]}}"), &["3 entries[1]"]),
    ] {
        let run = run_accounted(input.as_bytes(), &[]);
        let found: Vec<&str> = run.rejects.iter().map(|reject| reject["place"].as_str().expect("a place")).collect();
        let expected: Vec<String> = places.iter().map(|place| format!("standard input:{place}")).collect();
        assert_eq!(found, expected, "{name}");
        let evaluated = run.ledger.iter().filter(|line| line["outcome"] == "evaluated").count();
        assert_eq!(
            run.alerts.len(),
            evaluated,
            "{name}: all others alert, and so does what is whole of one that is cut off"
        );
        let whole = input.matches(&good).count() + input.matches(&quoted(&good)).count();
        assert!(run.alerts.len() >= whole, "{name}");
    }
}

#[test]
fn other_logs_in_an_envelope_are_ignored() {
    for document in [
        json!({"messageType": "CONTROL_MESSAGE", "logStream": "", "logEvents": [{"message": "CWL CONTROL MESSAGE: Checking"}]}),
        json!({"messageType": "DATA_MESSAGE", "logStream": "kube-scheduler-1a2b", "logEvents": [{"message": "I1118 text"}]}),
        json!({"events": [{"logStreamName": "authenticator-1a2b", "message": "time=\"2026\" level=info"}]}),
        json!({"message": "text", "level": "info"}),
        json!({"message": "{0} of {1}"}),
        json!({"message": {"data": "bm8gSlNPTg=="}}),
        json!({"items": 5, "records": {}}),
    ] {
        let run = run_accounted(document.to_string().as_bytes(), &[]);
        let outcomes: Vec<&Value> = run.ledger.iter().map(|line| &line["outcome"]).collect();
        assert_eq!(outcomes, ["ignored"], "{document}");
    }
}

#[test]
fn a_truncated_compressed_input_gives_its_complete_records_and_an_error() {
    let lines = sample_lines();
    for (name, compress) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("cut");
        let whole = compress(lines.join("\n").repeat(20).as_bytes());
        fs::write(&file, &whole[..whole.len() - 40]).expect("written");
        let ended = run(["run", file.to_str().expect("UTF-8")]);
        assert_eq!(ended.code, Some(4), "{name}");
        let [alerts, more] = [&ended, &run(["run", file.to_str().expect("UTF-8"), &sample("eks.ndjson")])];
        assert!(alerts.stderr.contains(": cannot be read further: "), "{}", ended.stderr);
        assert!(alerts.stdout.lines().count() > 10, "{name}: what is whole alerts");
        let own = run(["run", &sample("eks.ndjson")]).stdout.lines().count();
        assert_eq!(more.code, Some(4));
        let (found, expected) = (more.stdout.lines().count(), alerts.stdout.lines().count() + own);
        assert_eq!(found, expected, "{name}: and the next file is read");
    }
}

/// An input that is one line and one document, far larger than the memory that the command takes for it.
#[cfg(target_os = "linux")]
#[test]
fn an_envelope_of_any_length_takes_little_memory() {
    let good = sample_lines().swap_remove(0);
    let record = format!("{},", good.replacen('{', &format!("{{\"filler\":\"{}\",", "x".repeat(1 << 16)), 1));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"{\"items\":[").expect("written");
    let count = 3000;
    for _ in 0..count {
        encoder.write_all(record.as_bytes()).expect("written");
    }
    encoder.write_all(b"{}]").expect("written");
    let input = encoder.finish().expect("compressed");
    let mut child = spawn(["run", "--output", "/dev/null", "-"]);
    let mut stdin = child.stdin.take().expect("piped");
    // When all of it is in the pipe, most of it has been read, and the command is still there to be asked.
    stdin.write_all(&input).expect("the command reads");
    let peak = status(child.id(), "VmHWM:");
    drop(stdin);
    let ended = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8(ended.stderr).expect("UTF-8");
    assert!(stderr.contains(&format!("{} records = {count} evaluated", count + 2)), "{stderr}");
    assert!(peak < 100_000, "{peak} KB for 200 MB in one document");
}

/// An object that is broken at its beginning ends with a whole object. It is no object behind a prefix: it is kept.
#[test]
fn a_broken_object_around_a_whole_one_is_rejected() {
    for text in ["{tor\": {\"app\": \"x\"}", "{x {\"auditID\": \"1\"}"] {
        let run = run_accounted(text.as_bytes(), &[]);
        assert_eq!(run.ledger[0]["outcome"], "rejected", "{text}: {:?}", run.ledger);
    }
    let run = run_accounted(b"[app] {\"app\": \"x\"}", &[]);
    assert_eq!(run.ledger[0]["outcome"], "ignored", "{:?}", run.ledger);
}
