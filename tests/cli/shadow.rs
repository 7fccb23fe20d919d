//! A candidate in the shadow of the active version: how long, what it is held against, and what is said of it.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Does, FIRST, Live, SECOND, VERSIONED, history, live, pairs, record, said, version};

#[test]
fn a_shadow_candidate_is_checked_against_pins_and_other_files() {
    let shadow = "[activation]\nactivate = \"shadow-then-auto\"\nshadow-events = 3\n";
    let mut live = live(shadow, &["--watch"]);
    live.put(SECOND, &version("2.0.0", Does::Nothing));
    live.wait_for("shadow-began", "2.0.0");
    live.put("config.toml", format!("{shadow}versions = {{ {VERSIONED:?} = \"0.9.0\" }}\n").as_bytes());
    assert_eq!(live.wait_for("shadow-ended", "2.0.0")["reason"], "its file is gone, or it is no longer selected");
    live.send(&[&*record(false); 5]);
    // Otherwise the next shadow could see some of them.
    (0..5).for_each(|_| drop(live.alert()));
    live.put("config.toml", shadow.as_bytes());
    let began = live.history().len();
    live.wait_until(|entries| entries[began - 1..].iter().any(|entry| entry["action"] == "shadow-began"));
    live.put("rules/copy.wasm", &version("2.0.0", Does::Alert));
    live.wait_for("refused", "2.0.0");
    live.send(&[&*record(false); 5]);
    let (run, _) = live.end();
    assert_eq!(pairs(&said(&run.ledger)), [("1.0.0", "alert")]);
}

#[test]
fn config_changes_reach_a_shadow_candidate() {
    let shadow = "[activation]\nactivate = \"shadow-then-auto\"\nshadow-events = 1000000\n";
    let live = live(shadow, &["--watch"]);
    live.put(SECOND, &version("2.0.0", Does::Nothing));
    live.wait_for("shadow-began", "2.0.0");
    live.put("config.toml", shadow.replace("shadow-then-auto", "manual").as_bytes());
    assert_eq!(live.wait_for("shadow-ended", "2.0.0")["reason"], "the config has changed");
    live.wait_for("waiting", "2.0.0");
    live.put("config.toml", shadow.replace("shadow-then-auto", "auto").as_bytes());
    live.wait_for("activated", "2.0.0");
    // Removed and put back, there is nothing that it could be in the shadow of.
    live.put("config.toml", shadow.as_bytes());
    live.remove(FIRST);
    live.remove(SECOND);
    let removed = live.wait_for("removed", "2.0.0");
    live.put(SECOND, &version("2.0.0", Does::Nothing));
    live.wait_for_entry(|entry| entry["action"] == "activated" && entry["time"].as_str() > removed["time"].as_str());
    live.end();
}

#[test]
fn after_a_start_a_candidate_is_in_the_shadow_of_what_was_active() {
    let live = live("[activation]\nactivate = \"shadow-then-auto\"\nshadow-time = \"1s\"\n", &["--watch"]);
    let (_, folder) = live.end();
    fs::write(folder.path().join(SECOND), version("2.0.0", Does::Nothing)).expect("written");
    let live = Live::in_folder(folder, &["--watch"]);
    live.wait_for("resumed", "1.0.0");
    assert_eq!(live.wait_for("shadow-began", "2.0.0")["from"], "1.0.0");
    let ended = live.wait_for("shadow-ended", "2.0.0");
    assert_eq!((&ended["shadow"]["events"], &ended["reason"]), (&json!(0), &Value::Null), "its time is over");
    live.wait_for("activated", "2.0.0");
    live.end();
}

#[test]
fn a_shadow_candidate_sends_no_alerts_reports_and_then_becomes_active() {
    let mut live = live("[activation]\nactivate = \"shadow-then-auto\"\nshadow-events = 5\n", &["--watch"]);
    live.put(SECOND, &version("2.0.0", Does::Nothing));
    live.wait_for("shadow-began", "2.0.0");
    let record = record(false);
    live.send(&[&*record; 5]);
    let ended = live.wait_for("shadow-ended", "2.0.0");
    let report = json!({"events": 5, "both": 0, "added": 0, "lost": 5, "examples": [], "fault": null});
    assert_eq!(ended["shadow"], report);
    live.wait_for("activated", "2.0.0");
    live.send(&[&record]);

    // One that fails where the active version does not is not taken.
    live.put(&format!("rules/{VERSIONED}@3.0.0.wasm"), &version("3.0.0", Does::TrapOnLong));
    live.wait_for("shadow-began", "3.0.0");
    live.send(&[&self::record(true)]);
    let refused = live.wait_for("refused", "3.0.0");
    let reason = refused["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("it failed in the shadow of the active version, which did not fail: it trapped"),
        "{reason}"
    );

    // And one that has not seen enough is reported when the run ends.
    live.put(&format!("rules/{VERSIONED}@4.0.0.wasm"), &version("4.0.0", Does::Alert));
    live.wait_for("shadow-began", "4.0.0");
    live.send(&[&*record; 2]);
    let (run, folder) = live.end();
    assert_eq!(pairs(&said(&run.ledger)), [("1.0.0", "alert"), ("2.0.0", "no-match")]);
    assert_eq!(run.alerts.len(), 5, "what is in shadow alerts nobody");
    let last = history(&folder.path().join("history")).pop().expect("an entry");
    let ended = (&last["action"], &last["shadow"]["added"]);
    assert_eq!(ended, (&json!("shadow-ended"), &json!(2)), "{}", run.ended.stderr);
    let said = "Test.Versioned 4.0.0 was in the shadow of 2.0.0: of 2 events, both match 0, only this version 2, only \
                the active version 0: the run ended before the shadow was over";
    assert!(run.ended.stderr.contains(said), "{}", run.ended.stderr);
}
