//! Small inputs tried as a new user would, each a kind: what people really have, and what must come of it.

use std::fs;

use serde_json::Value;

use crate::support::{NODEPORT, Run, SYSTEM_PRINCIPAL, project, run_accounted};

fn run(name: &str) -> Run {
    let folder = project("fixtures/cases");
    let files = fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("a file").path());
    let file =
        files.into_iter().find(|file| file.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)));
    run_accounted(&fs::read(file.expect(name)).expect(name), &[])
}

/// The ids of the alerts, each with its rule; every record has been evaluated, without anything malformed.
fn alerts(name: &str) -> Vec<(String, String)> {
    let run = run(name);
    for line in &run.ledger {
        assert_eq!(
            (&line["outcome"], &line["malformed"]),
            (&"evaluated".into(), &Value::Array(vec![])),
            "{name}: {line}"
        );
    }
    let text = |alert: &Value, member: &str| alert[member].as_str().expect("text").to_owned();
    run.alerts.iter().map(|alert| (text(alert, "rule_id"), text(alert, "alert_id"))).collect()
}

/// Whether one warning says all of this; the account names every rule of every run.
fn warns(run: &Run, texts: &[&str]) -> bool {
    run.ended.stderr.lines().any(|line| line.contains("warning: ") && texts.iter().all(|text| line.contains(text)))
}

/// The same two events: in a list without `kind` on its items, and in what shippers make of them.
#[test]
fn enrichment_by_the_sender_changes_no_alert_id() {
    let plain = alerts("k01");
    assert_eq!(plain.iter().map(|(rule, _)| &**rule).collect::<Vec<_>>(), [NODEPORT, SYSTEM_PRINCIPAL]);
    for name in ["w01", "w02", "w03", "w05", "w06", "w11"] {
        assert_eq!(alerts(name), plain, "{name}");
    }
    assert_eq!(alerts("g04"), plain[..1], "g04");
}

#[test]
fn rows_of_the_clouds_tables_are_records() {
    let of_log = alerts("a05");
    assert_eq!((of_log.len(), &*of_log[0].0), (1, NODEPORT));
    assert_eq!(alerts("a07"), of_log, "properties as text");
    let rows = alerts("a03");
    assert_eq!((rows.len(), &*rows[0].0), (2, NODEPORT));
    assert_eq!(rows[0], rows[1], "one event in two tables");
    let big_query = alerts("g02");
    assert_eq!((big_query.len(), &*big_query[0].0), (1, NODEPORT));
}

#[test]
fn a_cut_off_record_is_judged_on_its_complete_part() {
    for (name, rules) in [("a01", &[][..]), ("a17", &[SYSTEM_PRINCIPAL])] {
        let run = run(name);
        assert_eq!(run.ledger[0]["malformed"], Value::from(vec!["cut off"]), "{name}");
        let found: Vec<_> = run.alerts.iter().map(|alert| alert["rule_id"].as_str().expect("text")).collect();
        assert_eq!(found, rules, "{name}");
        assert_eq!(warns(&run, &[NODEPORT, "cut off"]), name == "a01", "{name}: {}", run.ended.stderr);
    }
}

#[test]
fn utf16_is_told_from_what_is_only_broken() {
    let run = run("k09");
    assert!(run.alerts.is_empty() && run.ledger.iter().all(|line| line["outcome"] == "rejected"));
    for told in [&run.ledger[0]["reason"].to_string(), &run.ended.stderr] {
        assert!(told.contains("UTF-16") && told.contains("PowerShell") && told.contains("utf8"), "{told}");
    }
}

#[test]
fn a_dry_run_deploys_nothing() {
    assert_eq!(alerts("s01"), []);
}

#[test]
fn an_object_with_a_generated_name_is_called_by_its_prefix() {
    let run = run("s07");
    assert_eq!(run.alerts.len(), 2);
    for alert in &run.alerts {
        let dedup = alert["dedup"].as_str().expect("text");
        assert!(
            dedup.starts_with("shop/np-")
                && alert["context"]["name"].as_str().is_some_and(|name| name.starts_with("np-"))
        );
    }
}

/// Of names that no record says, those that are made of something else are others.
#[test]
fn another_generated_name_is_another_incident() {
    let text = fs::read_to_string(project("fixtures/cases/s07-generateName.json")).expect("the case");
    let without_stored = |line: &str| {
        let mut record: Value = serde_json::from_str(line).expect("JSON");
        record.as_object_mut().expect("an object").remove("responseObject");
        record.to_string()
    };
    let lines: Vec<String> = text.lines().map(without_stored).collect();
    let run = run_accounted(format!("{}\n{}\n", lines[0], lines[1].replace("\"np-\"", "\"db-\"")).as_bytes(), &[]);
    let dedups: Vec<&Value> = run.alerts.iter().map(|alert| &alert["dedup"]).collect();
    assert_eq!(dedups, ["shop/np-*", "shop/db-*"]);
}

#[test]
fn a_rule_that_the_audit_policy_blinds_is_reported() {
    let run = run("s08");
    assert_eq!((run.alerts.len(), run.ledger[0]["outcome"].as_str()), (0, Some("evaluated")));
    assert!(warns(&run, &[NODEPORT, "audit policy", "Metadata", "level: Request"]), "{}", run.ended.stderr);
}

#[test]
fn the_context_names_the_impersonated_user() {
    let run = run("s10");
    assert_eq!(run.alerts[0]["rule_id"], SYSTEM_PRINCIPAL);
    assert_eq!(run.alerts[0]["context"]["impersonatedUser"], "mira@example.com");
    assert_eq!(run.alerts[0]["context"]["impersonatedGroups"], Value::from(vec!["system:authenticated"]));
}
