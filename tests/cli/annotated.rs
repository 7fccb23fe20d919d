//! `--format annotated`: one line out for each line in.

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::{NODEPORT, json_lines, run, run_with_input, sample, spawn};

const RECORD: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create","user":{"username":"ada"},"objectRef":{"resource":"services","namespace":"prod","name":"web"},"requestObject":{"spec":{"type":"NodePort"}}}"#;

/// What becomes of these bytes.
fn annotated(input: &[u8], more_args: &[&str]) -> Vec<u8> {
    let args = ["run", "-", "--quiet", "--format", "annotated"];
    let mut child = spawn(args.into_iter().chain(more_args.iter().copied()));
    let mut stdin = child.stdin.take().expect("piped");
    let ended = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).expect("it reads"));
        child.wait_with_output().expect("it ends")
    });
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    ended.stdout
}

/// The rules that one line's alerts are of, and the line without them.
fn alerts_of(line: &[u8]) -> (Vec<String>, Value) {
    let mut object: Value = serde_json::from_slice(line).expect("an object");
    let said = object.as_object_mut().expect("an object").shift_remove("portcullis").expect("a line that alerts");
    assert_eq!(said["verdict"], "alert");
    let alerts = said["alerts"].as_array().expect("a list");
    (alerts.iter().map(|alert| alert["rule_id"].as_str().expect("a text").to_owned()).collect(), object)
}

#[test]
fn all_samples_come_out_unchanged_and_those_that_alert_have_their_alerts() {
    let names = ["eks.ndjson", "aks.ndjson", "gke.ndjson", "broken.ndjson"];
    let input: Vec<u8> = names.iter().flat_map(|name| fs::read(sample(name)).expect("the sample")).collect();
    let mut found: Vec<Value> = Vec::new();
    let out = annotated(&input, &[]);
    let lines = |bytes: &[u8]| bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!(lines(&out).len(), lines(&input).len());
    for (came, line) in lines(&input).iter().zip(lines(&out)) {
        if *came != line {
            let mut object: Value = serde_json::from_slice(&line).expect("an object");
            let (last, _) = object.as_object().expect("an object").iter().next_back().expect("a member");
            assert_eq!(last, "portcullis");
            let said = object.as_object_mut().expect("an object").shift_remove("portcullis").expect("it is there");
            found.extend(said["alerts"].as_array().expect("a list").clone());
            assert_eq!(object, serde_json::from_slice::<Value>(came).expect("an object"));
        }
    }
    let ended = run_with_input(["run", "-", "--quiet"], &input);
    assert_eq!(found, json_lines(&ended.stdout));
    assert_eq!(found.len(), 11);
    for threads in ["1", "2", "5"] {
        assert!(annotated(&input, &["--threads", threads]) == out);
    }
    let mut compressed = GzEncoder::new(Vec::new(), Compression::fast());
    compressed.write_all(&input).expect("in memory");
    assert!(annotated(&compressed.finish().expect("in memory"), &[]) == out);
}

/// What is no record, or broken, or goes on in the next line, is a line like any other.
#[test]
fn bytes_outside_of_known_ranges_are_ignored() {
    for line in [
        "",
        "{",
        "[",
        "{\"a\":",
        "}",
        "  {}  ",
        "{}\r",
        "\u{feff}{}",
        "x\u{fffd}",
        "{\"portcullis\":1}",
        "[]",
        "{\"items\":[]}",
    ] {
        let input = format!("{line}\n{RECORD}\n{line}\n");
        let out = annotated(input.as_bytes(), &[]);
        let out = String::from_utf8(out).expect("UTF-8");
        assert_eq!(out.lines().count(), 3, "{line:?}: {out}");
        assert!(out.starts_with(&format!("{line}\n{{")) && out.ends_with(&format!("}}\n{line}\n")), "{line:?}: {out}");
    }
    assert_eq!(annotated(b"", &[]), b"");
    assert_eq!(annotated(b"{}\nx", &[]), b"{}\nx\n", "what is answered is a line");
    assert_eq!(annotated(b"\xff\0\n", &["--threads", "2"]), b"\xff\0\n");
}

#[test]
fn the_member_replaces_a_member_of_the_same_name() {
    let inside = &RECORD[1..];
    for line in [
        format!(r#"{{"portcullis":{{"verdict":"none"}},{inside}"#),
        format!(r#"{{"portcullis":1,"portcullis":2,{inside}"#),
        format!(r#"{{ "\u0070ortcullis" : [] , {inside}  "#),
        format!("\u{feff}{RECORD}\r"),
    ] {
        let out = annotated(line.as_bytes(), &[]);
        let (rules, object) = alerts_of(&out);
        assert_eq!((rules, object), (vec![NODEPORT.to_owned()], serde_json::from_str(RECORD).expect("JSON")), "{line}");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.contains(&RECORD[1..RECORD.len() - 1]), "its members are as they came: {text}");
        assert_eq!(text.matches("\"portcullis\":").count(), 1);
    }
}

#[test]
fn a_line_with_many_records_has_the_alerts_of_all() {
    let nothing = RECORD.replace("NodePort", "ClusterIP");
    let list = format!(r#"{{"kind":"EventList","items":[{RECORD},{nothing},{RECORD}]}}"#);
    let (rules, object) = alerts_of(&annotated(list.as_bytes(), &[]));
    assert_eq!((rules.len(), object), (2, serde_json::from_str(&list).expect("JSON")));
    for line in [format!("[{RECORD},{nothing},{RECORD}]"), format!("{RECORD}{RECORD}")] {
        let (rules, object) = alerts_of(&annotated(line.as_bytes(), &[]));
        assert_eq!((rules.len(), object), (2, json!({"message": line})));
    }
    let exported = format!("2026-11-18T11:04:30.551Z {RECORD}");
    let (rules, object) = alerts_of(&annotated(exported.as_bytes(), &[]));
    assert_eq!((rules.len(), object), (1, json!({"message": exported})));
}

#[test]
fn a_line_that_is_too_long_is_passed_on_up_to_the_limit() {
    let mut input = vec![b'x'; (64 << 20) + 1];
    input.extend(b"\n{}\n");
    let out = annotated(&input, &[]);
    assert!(out[..64 << 10].iter().all(|byte| *byte == b'x') && out[64 << 10..] == *b"\n{}\n");
}

#[test]
fn annotated_output_cannot_be_combined_with_incidents() {
    let ended = run(["run", &sample("eks.ndjson"), "--format", "annotated", "--incidents"]);
    let message = "portcullis: --incidents: cannot be combined with --format annotated, which does not group alerts\n";
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(2), "", message));
}
