//! The detector component, as any embedder of components runs it.

use std::fs;

use proptest::prelude::*;
use serde_json::{Value, json};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use crate::support::{NODEPORT, SYSTEM_PRINCIPAL, json_lines, pipeline, project, run_accounted};

/// What wasmtime makes of `wit/detector.wit`.
mod bindings {
    wasmtime::component::bindgen!({ path: "../../wit", world: "detector" });
}

use bindings::Detector;
use bindings::exports::portcullis::detection::records::{DetectError, Finding, Severity};

/// One instance, asked about many records.
struct Embedder {
    store: Store<()>,
    detector: Detector,
}

impl Embedder {
    fn new() -> Self {
        let engine = Engine::default();
        let component = Component::from_binary(&engine, &pipeline("detector")).expect("a component");
        assert_eq!(component.component_type().imports(&engine).count(), 0, "it imports nothing");
        let exports: Vec<_> = component.component_type().exports(&engine).map(|(name, _)| name.to_owned()).collect();
        assert_eq!(exports, ["portcullis:detection/records@1.0.0"]);
        let mut store = Store::new(&engine, ());
        let detector = Detector::instantiate(&mut store, &component, &Linker::new(&engine)).expect("an instance");
        Self { store, detector }
    }

    fn detect(&mut self, record: &str) -> Result<Vec<Finding>, DetectError> {
        let records = self.detector.portcullis_detection_records();
        records.call_detect(&mut self.store, record).expect("no trap")
    }
}

/// The alert of `portcullis run` that a finding is.
fn alert(finding: &Finding) -> Value {
    let severity = match finding.severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    };
    json!({
        "alert_id": finding.alert_id,
        "rule_id": finding.rule_id,
        "rule_version": finding.rule_version,
        "severity": severity,
        "title": finding.title,
        "dedup": finding.dedup,
        "dedup_period_minutes": finding.dedup_period_minutes,
        "incident_id": finding.incident_id,
        "tenant": "default",
        "cluster": finding.cluster,
        "log_type": finding.log_type,
        "event_time": finding.event_time,
        "audit_id": finding.audit_id,
        "context": serde_json::from_str::<Value>(&finding.context).expect("a context is JSON"),
        "mitre": finding.mitre,
        "reference": finding.reference,
        "runbook": finding.runbook,
        "tags": finding.tags,
    })
}

#[test]
fn its_findings_are_the_alerts_of_the_command() {
    let expected = fs::read_to_string(project("fixtures/parity/expected.ndjson")).expect("the expectations");
    let records = fs::read_to_string(project("fixtures/parity/events.ndjson")).expect("the records");
    let mut embedder = Embedder::new();
    let mut alerts = Vec::new();
    let (mut judged, mut differing) = (0, Vec::new());
    for (record, expected) in records.lines().zip(json_lines(&expected)) {
        let found = embedder.detect(record);
        let outcome = match &found {
            Ok(_) => "evaluated",
            Err(DetectError::Ignored(_)) => "ignored",
            Err(_) => "rejected",
        };
        let found = found.unwrap_or_default();
        let by = |rule| found.iter().any(|finding| finding.rule_id == rule);
        let said = (outcome, by(NODEPORT), by(SYSTEM_PRINCIPAL));
        let verdict = |rule: &str| expected[rule] == true;
        let wanted = (expected["outcome"].as_str(), verdict("nodeport"), verdict("system_principal"));
        if (Some(said.0), said.1, said.2) != wanted {
            differing.push(format!("{record}\n   {said:?}, expected {wanted:?}"));
        }
        alerts.extend(found.iter().map(alert));
        judged += 1;
    }
    assert_eq!(judged, 4000);
    assert!(differing.is_empty(), "{} of 4000 differ:\n{}", differing.len(), differing.join("\n"));
    let run = run_accounted(records.as_bytes(), &["--threads", "1"]);
    assert!(alerts.len() > 1000, "{} alerts", alerts.len());
    assert!(alerts == run.alerts, "a finding is not the alert of the command");
}

#[test]
fn input_that_is_not_a_record_is_an_error_that_names_it() {
    let mut embedder = Embedder::new();
    let mut error = |record: &str| format!("{:?}", embedder.detect(record).expect_err("no record"));
    insta::assert_snapshot!(
        [
            "",
            " \n",
            "{",
            "5",
            "[]",
            "{}",
            r#"{"kind":"EventList","items":[]}"#,
            r#"{"p_log_type":"AWS.CloudTrail"}"#,
            r#"{"category":"kube-apiserver"}"#,
            r#"{"category":"kube-audit","properties":{"log":"{"}}"#,
        ]
        .map(|record| format!("{record:?}: {}", error(record)))
        .join("\n")
    );
    // And goes on.
    let record = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"get"}"#;
    assert!(embedder.detect(record).expect("a record").is_empty());
}

#[test]
fn a_large_record_and_a_deep_one_are_read() {
    let mut embedder = Embedder::new();
    let record = |object: &str| {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create","user":{{"username":"ada"}},
                "objectRef":{{"resource":"services","name":"web"}},"requestObject":{{"spec":{{"type":"NodePort","ports":[{object}]}}}}}}"#
        )
    };
    let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
    for object in [format!("{:?}", "x".repeat(8 << 20)), "[".repeat(100_000) + &"]".repeat(100_000), deep] {
        let findings = embedder.detect(&record(&object)).expect("a record");
        let context: Value = serde_json::from_str(&findings[0].context).expect("a context that readers take");
        assert!(context.is_object());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever it is given, it answers.
    #[test]
    fn no_text_makes_it_trap(
        from in 0_usize..4000,
        edits in prop::collection::vec((any::<prop::sample::Index>(), "[\\PC\\x00-\\x1f\"\\\\{}\\[\\],:0-9]{0,3}"), 1..20),
    ) {
        thread_local! {
            static EMBEDDER: std::cell::RefCell<Embedder> = Embedder::new().into();
            static RECORDS: String =
                fs::read_to_string(project("fixtures/parity/events.ndjson")).expect("the records");
        }
        let record = RECORDS.with(|records| records.lines().nth(from).expect("4,000 records").to_owned());
        EMBEDDER.with_borrow_mut(|embedder| {
            let mut changed: Vec<char> = record.chars().collect();
            for (place, text) in &edits {
                let place = place.index(changed.len() + 1);
                let end = (place + text.len()).min(changed.len());
                changed.splice(place..end, text.chars());
                let _ = embedder.detect(&changed.iter().collect::<String>());
            }
        });
    }
}

#[test]
fn it_is_small() {
    for name in ["detector", "fluent-bit", "wasmcloud"] {
        let size = pipeline(name).len();
        assert!(size <= 400_000, "{name} has {size} bytes");
    }
}
