//! `portcullis run --incidents`: alerts that belong together are shown once, and summed up when they are over.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};

use serde_json::{Value, json};

use crate::support::{NODEPORT, SYSTEM_PRINCIPAL, exported, json_lines, run_with_input, spawn};

/// A record of a service account at a time of an hour long past.
fn used(username: &str, address: &str, time: &str) -> String {
    let record = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "verb": "get", "requestReceivedTimestamp": format!("2020-11-18T{time}Z"),
        "user": {"username": username}, "sourceIPs": [address], "p_source_label": "prod-1",
    });
    record.to_string() + "\n"
}

fn run_incidents(args: &[&str], input: &str) -> (Vec<Value>, String) {
    let ended = run_with_input([&["run", "--incidents"], args].concat(), input.as_bytes());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    (json_lines(&ended.stdout), ended.stderr)
}

#[test]
fn an_incident_shows_its_first_alert_and_a_summary_at_its_end() {
    let input = [
        used("system:serviceaccount:a:one", "1.2.3.4", "10:00:00"),
        used("system:serviceaccount:a:two", "1.2.3.4", "10:20:00"),
        used("system:serviceaccount:a:one", "9.9.9.9", "10:30:00"),
        used("system:serviceaccount:a:one", "1.2.3.4", "10:59:59"),
        used("ada", "10.0.0.1", "11:00:00"),
        used("system:serviceaccount:a:one", "1.2.3.4", "11:00:00"),
    ];
    let (lines, stderr) = run_incidents(&["--format", "ndjson"], &input.concat());
    let told: Vec<String> = lines
        .iter()
        .map(|line| match line.get("incident") {
            None => format!("alert {}", line["dedup"]),
            Some(incident) => {
                let [dedup, count, first, last, summary] =
                    ["dedup", "count", "first_time", "last_time", "summary"].map(|name| &incident[name]);
                format!("over {dedup} {count} {first} {last} {summary}")
            }
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
    assert_eq!(lines[0]["alert_id"], lines[2]["incident"]["alert_id"], "an incident has the id of its first alert");
    assert!(
        stderr.contains("portcullis: incidents: 3 of 5 alerts; 0 alerts below their rule's Threshold\n"),
        "{stderr}"
    );
    assert!(stderr.contains("5 alert + "), "every alert is still counted: {stderr}");
}

#[test]
fn a_rule_with_a_threshold_is_quiet_until_it_is_reached() {
    let (folder, files) = exported();
    let file = files.iter().find(|file| file.to_string_lossy().contains(SYSTEM_PRINCIPAL)).expect("exported");
    let package = fs::read(file).expect("a package");
    let (old, new) = (b"DedupPeriodMinutes: 60", b"Threshold: 3          ");
    let place = package.windows(old.len()).position(|window| window == old).expect("the key");
    let changed = folder.path().join("changed.wasm");
    fs::write(&changed, [&package[..place], new, &package[place + old.len()..]].concat()).expect("written");
    let used = |time| used("system:serviceaccount:a:one", "1.2.3.4", time);
    let input = [used("10:00:00"), used("10:01:00"), used("11:30:00"), used("11:31:00"), used("11:32:00")].concat();
    let (lines, stderr) = run_incidents(&["--format", "ndjson", "--rules", changed.to_str().expect("UTF-8")], &input);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["event_time"], "2020-11-18T11:30:00Z");
    assert_eq!(lines[1]["incident"]["count"], 3);
    assert!(
        stderr.contains("portcullis: incidents: 1 of 3 alerts; 2 alerts below their rule's Threshold\n"),
        "{stderr}"
    );
}

#[test]
fn an_incident_is_shown_as_text() {
    let input = [
        used("system:serviceaccount:a:one", "1.2.3.4", "10:00:00"),
        used("system:serviceaccount:a:two", "1.2.3.4", "10:20:00"),
    ];
    let ended = run_with_input(["run", "--incidents", "--format", "text", "--quiet"], input.concat().as_bytes());
    insta::assert_snapshot!(ended.stdout);
}

#[test]
fn an_incident_is_over_as_soon_as_a_later_event_is_seen() {
    let mut child = spawn(["run", "--incidents"]);
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut next = |input: String| {
        stdin.write_all(input.as_bytes()).expect("the command reads");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line while the input is open");
        json_lines(&line).swap_remove(0)
    };
    assert_eq!(next(used("system:node:a", "1.2.3.4", "10:00:00"))["dedup"], "1.2.3.4");
    assert_eq!(next(used("ada", "10.0.0.1", "11:00:00"))["incident"]["count"], 1);
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_summarizes_open_incidents() {
    let mut child = spawn(["run", "--incidents"]);
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    stdin.write_all(used("system:node:a", "1.2.3.4", "10:00:00").as_bytes()).expect("the command reads");
    let mut line = String::new();
    stdout.read_line(&mut line).expect("the alert");
    let killed =
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
    line.clear();
    stdout.read_line(&mut line).expect("the incident");
    assert_eq!(json_lines(&line)[0]["incident"]["count"], 1);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
}

/// The sum of what is shown is the account's.
#[test]
fn no_alert_is_lost_among_incidents() {
    let corpus = crate::support::project("fixtures/parity/events.ndjson");
    let ended = crate::support::run(["run", "--incidents", corpus.to_str().expect("UTF-8")]);
    let lines = json_lines(&ended.stdout);
    let (over, shown): (Vec<&Value>, Vec<&Value>) = lines.iter().partition(|line| line.get("incident").is_some());
    assert_eq!(over.len(), shown.len());
    let counted: u64 = over.iter().map(|line| line["incident"]["count"].as_u64().expect("a count")).sum();
    let alerts: u64 = ended
        .stderr
        .lines()
        .filter_map(|line| line.split_once(" events = ")?.1.split_once(" alert + ")?.0.parse::<u64>().ok())
        .sum();
    assert!(counted == alerts && over.len() as u64 <= alerts && alerts > 500, "{counted} of {alerts}");
    let summary = format!("portcullis: incidents: {} of {alerts} alerts; 0 alerts below", over.len());
    assert!(ended.stderr.contains(&summary), "{}", ended.stderr);
}

#[test]
fn incidents_of_different_rules_are_different() {
    let nodeport = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "verb": "create", "requestReceivedTimestamp": "2020-11-18T10:00:00Z",
        "user": {"username": "system:node:a"}, "sourceIPs": ["1.2.3.4"],
        "objectRef": {"resource": "services", "name": "1.2.3.4"}, "requestObject": {"spec": {"type": "NodePort"}},
    });
    let (lines, _) = run_incidents(&[], &nodeport.to_string());
    let rules: Vec<&Value> = lines.iter().take(2).map(|line| &line["rule_id"]).collect();
    assert_eq!(rules, [NODEPORT, SYSTEM_PRINCIPAL]);
    assert_eq!(lines.len(), 4);
}
