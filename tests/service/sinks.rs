//! Where alerts go: files, standard output, and several places at once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::support::service::{EYES, Service, config, data, lines_of, service_folder, wait_until};
use crate::support::{json_lines, run_accounted, sample};

fn eks() -> Vec<u8> {
    fs::read(sample("eks.ndjson")).expect("the sample")
}

/// A service with these sinks.
fn service(sinks: &str) -> (tempfile::TempDir, Service) {
    let folder = service_folder(&config(sinks));
    let service = Service::start(folder.path(), &[]);
    (folder, service)
}

fn sink(name: &str, kind: &str, more: &str) -> String {
    format!("[[serve.sinks]]\nname = \"{name}\"\ntype = \"{kind}\"\n{more}\n")
}

/// What the service says of a sink.
fn state(service: &Service, name: &str) -> Value {
    let events = service.live(EYES, |kind, _| kind == "overview");
    let sinks = events[0].1["sinks"].as_array().cloned().expect("a list");
    sinks.into_iter().find(|sink| sink["name"] == name).unwrap_or_else(|| panic!("there is no sink {name}"))
}

#[test]
fn each_of_several_sinks_has_every_alert_once_in_its_format() {
    let sinks = [
        sink("plain", "file", ""),
        sink("findings", "file", "path = \"ocsf.ndjson\"\nformat = \"ocsf\""),
        sink("out", "stdout", ""),
        sink("same", "file", "path = \"deeper.ndjson\"\nformat = \"ndjson\""),
    ];
    let (folder, service) = service(&sinks.concat());
    for _ in 0..3 {
        assert_eq!(service.post(eks()).json()["alerts"], 6);
    }
    let expected = run_accounted(&eks(), &[]).alerts;
    for name in ["plain.ndjson", "deeper.ndjson"] {
        assert_eq!(lines_of(&data(&folder, name)), expected, "{name}");
    }
    let findings = lines_of(&data(&folder, "ocsf.ndjson"));
    assert_eq!(findings.len(), expected.len());
    for (finding, alert) in findings.iter().zip(&expected) {
        assert_eq!(finding["class_uid"], 2004, "a Detection Finding");
        assert_eq!(finding["finding_info"]["uid"], alert["alert_id"]);
    }
    for name in ["plain", "findings", "out", "same"] {
        let state = state(&service, name);
        assert_eq!((&state["ok"], &state["waiting"]), (&true.into(), &0.into()), "{state}");
    }
    let (code, _, stdout) = service.end();
    assert_eq!((code, json_lines(&stdout)), (Some(0), expected));
    assert!(!data(&folder, "alerts.ndjson").exists(), "where nothing was said, that is where alerts go");
}

#[test]
fn alerts_are_stored_once_even_after_a_restart_and_a_torn_line_is_removed() {
    let sinks = [sink("plain", "file", ""), sink("findings", "file", "format = \"ocsf\"")].concat();
    let (folder, service) = service(&sinks);
    assert_eq!(service.post(eks()).status, 200);
    service.kill();
    let files = ["plain.ndjson", "findings.ndjson"].map(|name| data(&folder, name));
    let before = files.each_ref().map(|file| fs::read(file).expect("read"));
    for (file, text) in files.iter().zip(&before) {
        // The last alert was not written to its end.
        fs::write(file, &text[..text.len() - 10]).expect("written");
    }
    let service = Service::start(folder.path(), &[]);
    assert_eq!(service.post(eks()).status, 200);
    let ids = |text: &[u8]| -> Vec<Value> {
        let lines = json_lines(std::str::from_utf8(text).expect("UTF-8"));
        lines.iter().map(|line| line.get("alert_id").unwrap_or(&line["finding_info"]["uid"]).clone()).collect()
    };
    for (file, before) in files.iter().zip(&before) {
        assert_eq!(ids(&fs::read(file).expect("read")), ids(before));
    }
}

/// Held by a test with a full disk: a service locks its files, and this device is the same one for all of them.
static FULL: Mutex<()> = Mutex::new(());

/// Puts a device on which there is never room in the place of a file, as far as the service is concerned.
fn fill_disk(service: &Service, file: &Path, reloads: usize) {
    let _ = fs::remove_file(file);
    symlink("/dev/full", file).expect("linked");
    service.reload("reloaded clients and certificates", reloads);
}

#[test]
fn batches_are_refused_while_the_disk_of_a_sink_is_full() {
    let _alone = FULL.lock().unwrap_or_else(PoisonError::into_inner);
    let (folder, service) = service(&[sink("first", "file", ""), sink("second", "file", "")].concat());
    let alerts = |name: &str| lines_of(&data(&folder, name)).len();
    let second = data(&folder, "second.ndjson");
    fill_disk(&service, &second, 1);
    for _ in 0..2 {
        let answer = service.post(eks());
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text);
        assert!(!answer.text.contains("second.ndjson"), "the reason is not for whoever brings records");
        assert_eq!(service.get("/readyz").status, 503);
    }
    let state = state(&service, "second");
    let reason = state["reason"].as_str().expect("a reason");
    assert!(state["ok"] == false && reason.contains("second.ndjson") && reason.contains("No space left"), "{state}");
    assert!((service.figure(r#"portcullis_sink_ok{sink="second"}"#)).abs() < 0.5);
    assert!((service.figure("portcullis_ready")).abs() < 0.5);
    assert_eq!(service.get("/healthz").status, 200, "to start it again would not help");
    // There is room again. Whoever asks whether it is ready sends nothing until it says so.
    fs::remove_file(&second).expect("removed");
    service.reload("reloaded clients and certificates", 2);
    wait_until("it is ready again", || service.is_ready());
    assert_eq!(service.post(eks()).status, 200);
    assert_eq!((alerts("first.ndjson"), alerts("second.ndjson")), (6, 6), "each has them once");
    let (code, log, _) = service.end();
    assert_eq!(code, Some(0));
    let is_told = |line: &&Value| {
        line["level"] == "ERROR" && line["reason"].as_str().is_some_and(|why| why.contains("sink second"))
    };
    assert_eq!(log.iter().filter(is_told).count(), 2, "{log:#?}");
}

#[test]
fn batches_are_refused_while_the_disk_of_ledger_or_dead_letters_is_full() {
    let _alone = FULL.lock().unwrap_or_else(PoisonError::into_inner);
    for name in ["ledger.ndjson", "dead-letters.ndjson"] {
        let (folder, service) = service("");
        fill_disk(&service, &data(&folder, name), 1);
        assert_eq!(service.post(eks()).status, 503, "{name}");
        assert_eq!(service.get("/readyz").status, 503, "{name}");
        fs::remove_file(data(&folder, name)).expect("removed");
        service.reload("reloaded clients and certificates", 2);
        wait_until("it is ready again", || service.is_ready());
        assert_eq!(service.post(eks()).status, 200, "{name}");
        assert_eq!(lines_of(&data(&folder, "alerts.ndjson")).len(), 6, "{name}");
    }
}
