//! `portcullis test`: the published test cases, and what a person sees when one fails.

use std::fs;

use serde_json::Value;

use crate::support::{self, NODEPORT, OPEN_MANIFEST, component, exported, json_lines, project, run};

/// A rule that never matches.
const SILENT: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
    (func (export "portcullis:detection/rule@1.0.0#evaluate") (param i32 i32) (result i32) i32.const 16))"#;

/// A rule that always matches. Its answer lies at 16: some, title, dedup, no severity, context.
const ALERTING: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 16) "\01\00\00\00" "\04\02\00\00" "\02\00\00\00" "\04\02\00\00" "\02\00\00\00" "\00\00\00\00" "\00\02\00\00" "\02\00\00\00")
    (data (i32.const 512) "{}\00\00ok")
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
    (func (export "portcullis:detection/rule@1.0.0#evaluate") (param i32 i32) (result i32) i32.const 16))"#;

/// A package of the published NodePort spec around another rule.
fn nodeport_around(core: &str, manifest: &str) -> tempfile::NamedTempFile {
    let spec = fs::read_to_string(project("rules-wasm/nodeport-service/rule.yml")).expect("the spec");
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), support::package(&component(core), &spec, manifest)).expect("written");
    file
}

#[test]
fn the_published_test_cases_pass() {
    let ended = run(["test"]);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    insta::assert_snapshot!(ended.stdout);
}

#[test]
fn a_package_from_a_file_passes_as_the_embedded_one_does() {
    let (folder, _files) = exported();
    let from_files = run([std::ffi::OsStr::new("test"), folder.path().as_os_str()]);
    assert_eq!((from_files.code, from_files.stdout), (Some(0), run(["test"]).stdout));
}

#[test]
fn json_and_junit_say_the_same() {
    let json = run(["test", "--format", "json"]);
    let report: Value = serde_json::from_str(&json.stdout).expect("one object");
    assert_eq!((json.code, &report["passed"], &report["failed"]), (Some(0), &Value::from(24), &Value::from(0)));
    let case = &report["rules"][0]["test_cases"][0];
    assert_eq!(case["name"], "EKS NodePort Service Created");
    assert_eq!((&case["passed"], &case["event"]["serviceType"]), (&Value::from(true), &Value::from("NodePort")));

    let junit = run(["test", "--format", "junit"]);
    assert_eq!(junit.code, Some(0));
    insta::assert_snapshot!("junit", junit.stdout);
}

#[test]
fn a_failed_test_case_shows_what_was_expected_what_came_out_and_the_event() {
    let file = nodeport_around(SILENT, OPEN_MANIFEST);
    let path = file.path().to_str().expect("UTF-8");
    let ended = run(["test", path, "--filter", "GKE"]);
    assert_eq!(ended.code, Some(1));
    insta::assert_snapshot!(ended.stdout);

    let ended = run(["test", path, "--format", "json"]);
    assert_eq!(ended.code, Some(1));
    let report = &json_lines(&ended.stdout)[0];
    assert_eq!((&report["passed"], &report["failed"]), (&Value::from(3), &Value::from(3)));
    let ended = run(["test", path, "--format", "junit"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains(r#"<failure message="expected an alert, found no alert">"#), "{}", ended.stdout);
}

/// A rule that always matches, behind a prefilter that lets nothing through.
#[test]
fn a_prefilter_that_hides_a_match_fails_the_test_case() {
    let manifest = r#"{"version":"1.0.0","prefilter":{"verb":["delete"]}}"#;
    let file = nodeport_around(ALERTING, manifest);
    let ended = run(["test", file.path().to_str().expect("UTF-8"), "--filter", "EKS"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("found    an alert, which the rule's prefilter hides"), "{}", ended.stdout);
}

#[test]
fn a_filter_chooses_test_cases_by_name_or_rule() {
    let by_name = run(["test", "--filter", "CSI"]);
    assert!(by_name.stdout.ends_with("2 of 2 test cases passed\n"), "{}", by_name.stdout);
    let by_rule = run(["test", "--filter", NODEPORT]);
    assert!(by_rule.stdout.ends_with("6 of 6 test cases passed\n"), "{}", by_rule.stdout);
    let none = run(["test", "--filter", "no such"]);
    assert_eq!(
        (none.code, &*none.stderr),
        (Some(2), "portcullis: --filter: no test case has \"no such\" in its name or its rule's ID\n")
    );
}

#[test]
fn a_test_case_whose_record_is_rejected_fails() {
    let test =
        "Tests: [{Name: a, ExpectedResult: false, Log: {p_log_type: Azure.MonitorActivity, category: kube-audit}}]";
    let spec = support::spec("Silent") + test + "\n";
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), support::package(&component(SILENT), &spec, OPEN_MANIFEST)).expect("written");
    let ended = run([std::ffi::OsStr::new("test"), file.path().as_os_str()]);
    assert_eq!(ended.code, Some(1));
    let found = "found    a rejected record: properties.log is not a JSON object: properties is not an object";
    assert!(ended.stdout.contains(found), "{}", ended.stdout);
}

#[test]
fn a_rule_without_test_cases_is_not_a_success() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), support::package(&component(SILENT), &support::spec("Silent"), OPEN_MANIFEST))
        .expect("written");
    let ended = run([std::ffi::OsStr::new("test"), file.path().as_os_str()]);
    assert_eq!((ended.code, &*ended.stderr), (Some(2), "portcullis: no test cases: no spec has Tests\n"));
}
