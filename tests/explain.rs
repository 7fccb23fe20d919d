//! `portcullis explain`: one record, step by step.

use std::fs;

use crate::support::{Ended, project, run, run_with_input};

fn explain_sample(file: &str, n: &str) -> Ended {
    run(["explain", project("fixtures/samples").join(file).to_str().expect("UTF-8"), "--record", n])
}

#[test]
fn it_shows_the_event_and_what_each_rule_said() {
    let ended = explain_sample("eks.ndjson", "11");
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    insta::assert_snapshot!(ended.stdout);
}

#[test]
fn it_says_why_a_rule_was_not_asked_and_that_one_was_in_vain() {
    insta::assert_snapshot!(explain_sample("aks.ndjson", "3").stdout);
}

#[test]
fn it_says_why_a_record_is_no_event() {
    let ended = explain_sample("gke.ndjson", "7");
    assert_eq!(ended.stdout, "ignored: protoPayload.serviceName is \"iam.googleapis.com\", not k8s.io\n");
    let ended = explain_sample("broken.ndjson", "2");
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "rejected: not a JSON object\n"));
}

#[test]
fn one_record_may_span_lines_and_come_from_standard_input() {
    let line = fs::read_to_string(project("fixtures/samples/eks.ndjson")).expect("the sample");
    let record: serde_json::Value = serde_json::from_str(line.lines().next().expect("a line")).expect("JSON");
    let pretty = serde_json::to_string_pretty(&record).expect("JSON");
    let ended = run_with_input(["explain", "-"], pretty.as_bytes());
    assert_eq!((ended.code, &ended.stdout), (Some(0), &explain_sample("eks.ndjson", "0").stdout));
}

#[test]
fn which_record_must_be_clear() {
    let sample = project("fixtures/samples/eks.ndjson");
    let ended = run(["explain", sample.to_str().expect("UTF-8")]);
    assert_eq!(
        (ended.code, &*ended.stderr),
        (Some(2), "portcullis: there are 12 lines; choose one with --record 0 to 11\n")
    );
    let ended = explain_sample("eks.ndjson", "12");
    assert_eq!((ended.code, &*ended.stderr), (Some(2), "portcullis: there is no record 12: the last is 11\n"));
    let ended = run(["explain"]);
    assert_eq!(
        (ended.code, &*ended.stderr),
        (Some(2), "portcullis: there is no record in the input; give one JSON object\n")
    );
}
