//! `portcullis explain`: one record, step by step.

use std::fs;

use serde_json::json;

use crate::support::{Ended, project, run, run_with_input, sample};

fn explain_sample(file: &str, n: &str) -> Ended {
    run(["explain", &sample(file), "--record", n])
}

#[test]
fn explain_shows_the_event_and_each_verdict() {
    let ended = explain_sample("eks.ndjson", "11");
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    insta::assert_snapshot!(ended.stdout);
}

#[test]
fn explain_says_why_a_rule_was_skipped_and_which_call_was_unnecessary() {
    insta::assert_snapshot!(explain_sample("aks.ndjson", "3").stdout);
}

#[test]
fn explain_says_why_a_record_is_not_an_event() {
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
fn a_byte_order_mark_is_not_part_of_the_record() {
    let ended = run_with_input(["explain"], b"\xef\xbb\xbf{}\r\n");
    assert_eq!(ended.stdout, "ignored: not the shape of a Kubernetes audit record of EKS, AKS or GKE\n");
}

#[test]
fn control_characters_of_clients_do_not_reach_the_terminal() {
    let record = r#"{"p_log_type":"Amazon.EKS.Audit","userAgent":"\u009b31m\u202e","verb":"\u001b[2J"}"#;
    let ended = run_with_input(["explain"], record.as_bytes());
    assert!(ended.stdout.contains("\\u{9b}31m\\u{202e}"), "{}", ended.stdout);
    let forged = "x\nKubernetes.System.Principal.PublicIP 1.0.0\n    no match";
    let record = json!({
        "p_log_type": "Amazon.EKS.Audit", "user": {"username": forged}, "sourceIPs": [forged], "verb": forged,
        "objectRef": {"resource": forged, "subresource": forged, "namespace": forged, "name": forged},
    });
    let ended = run_with_input(["explain"], record.to_string().as_bytes());
    let answers = ended.stdout.lines().filter(|line| *line == "Kubernetes.System.Principal.PublicIP 1.0.0").count();
    assert_eq!(answers, 1, "{}", ended.stdout);
    let record = r#"{"p_log_type":"Amazon.EKS.Audit","userAgent":"\u009b31m\u202e","verb":"\u001b[2J"}"#;
    let ended = run_with_input(["explain"], record.as_bytes());
    assert!(!ended.stdout.chars().any(|c| c.is_control() && c != '\n'), "{}", ended.stdout);
}

#[test]
fn explain_needs_a_single_record() {
    let sample = project("fixtures/samples/eks.ndjson");
    let sample = sample.to_str().expect("UTF-8");
    let ended = run(["explain", sample]);
    let message = format!("portcullis: {sample}: contains 12 records; select one with --record 0 to 11\n");
    assert_eq!((ended.code, ended.stderr), (Some(2), message));
    let ended = explain_sample("eks.ndjson", "12");
    let message = format!("portcullis: {sample}: contains no record 12; it has 12, counted from 0\n");
    assert_eq!((ended.code, ended.stderr), (Some(2), message));
    let ended = run(["explain"]);
    let message = "portcullis: standard input: contains no record\n";
    assert_eq!((ended.code, &*ended.stderr), (Some(2), message));
}
