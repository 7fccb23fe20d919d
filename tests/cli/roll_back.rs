//! A version that fails where the one before did not: put back, kept back, and pardoned by name.

use std::fs;

use serde_json::json;

use crate::support::{Does, FIRST, Live, SECOND, VERSIONED, history, live, pairs, pinned, record, run, said, version};

/// A run whose second version has been rolled back.
fn rolled_back() -> Live {
    let mut live = live("", &["--watch"]);
    live.put(SECOND, &version("2.0.0", Does::TrapOnLong));
    live.wait_for("activated", "2.0.0");
    live.send(&[&record(true)]);
    live.wait_for("rolled-back", "2.0.0");
    live
}

#[test]
fn a_version_that_fails_on_live_events_is_rolled_back_permanently_with_a_history_entry() {
    let mut live = live("", &["--watch"]);
    live.put(SECOND, &version("2.0.0", Does::TrapOnLong));
    live.wait_for("activated", "2.0.0");
    live.send(&[&record(false), &record(true), &record(false)]);
    let entry = live.wait_for("rolled-back", "2.0.0");
    assert_eq!((&entry["from"], &entry["to"]), (&json!("2.0.0"), &json!("1.0.0")));
    let reason = entry["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("it trapped") && reason.ends_with("on an event on which 1.0.0 did not fail"),
        "{reason}"
    );
    live.send(&[&record(true)]);
    let (run, folder) = live.end();
    assert_eq!(pairs(&said(&run.ledger)), [("2.0.0", "no-match"), ("1.0.0", "alert")]);
    assert_eq!(run.rejects.len(), 0, "no event was lost to the fault");
    assert!(run.ended.stderr.contains("Test.Versioned 2.0.0 failed: it trapped"), "{}", run.ended.stderr);
    assert!(
        run.ended.stderr.contains("Test.Versioned 2.0.0 is ROLLED BACK to 1.0.0: it trapped"),
        "{}",
        run.ended.stderr
    );

    // A new start does not try it again, even where it is what the config wants, until somebody names it anew.
    fs::write(folder.path().join("config.toml"), pinned("2.0.0")).expect("written");
    let live = Live::in_folder(folder, &["--watch"]);
    live.wait_for("resumed", "1.0.0");
    let (run, folder) = live.end();
    assert!(run.ended.stderr.contains("Test.Versioned 2.0.0 was rolled back (it trapped"), "{}", run.ended.stderr);
    fs::write(folder.path().join("config.toml"), "").expect("written");
    let before = history(&folder.path().join("history")).len();
    let mut live = Live::in_folder(folder, &["--watch"]);
    live.wait_until(|entries| entries.len() > before);
    live.put("config.toml", pinned("2.0.0").as_bytes());
    live.wait_until(|entries| {
        let last = entries.last().expect("an entry");
        last["action"] == "activated" && last["from"] == "1.0.0"
    });
    live.send(&[&record(false)]);
    let (run, _) = live.end();
    assert_eq!(pairs(&said(&run.ledger)), [("2.0.0", "no-match")]);
}

#[test]
fn a_version_that_was_rolled_back_judges_again_when_it_is_pinned() {
    let mut live = rolled_back();
    let before = live.history().len();
    live.put("config.toml", pinned("2.0.0").as_bytes());
    live.wait_until(|entries| entries[before..].iter().any(|entry| entry["action"] == "activated"));
    live.send(&[&record(false)]);
    assert_eq!(pairs(&said(&live.end().0.ledger)), [("1.0.0", "alert"), ("2.0.0", "no-match")]);
}

/// Who writes the pin pardons it once; a pin that is in the config, and what else happens to a file, pardon nothing.
#[test]
fn a_roll_back_is_permanent() {
    let mut live = live(&pinned("1.0.0"), &["--watch"]);
    live.put(SECOND, &version("2.0.0", Does::TrapOnLong));
    live.put("config.toml", pinned("2.0.0").as_bytes());
    live.wait_for("activated", "2.0.0");
    live.send(&[&record(true)]);
    live.wait_for("rolled-back", "2.0.0");
    live.put("config.toml", (pinned("2.0.0") + "shadow-events = 77\n").as_bytes());
    live.signal(rustix::process::Signal::HUP);
    live.put("rules/copy.wasm", &version("2.0.0", Does::Nothing));
    std::thread::sleep(std::time::Duration::from_secs(1));
    live.put("config.toml", b"");
    live.remove("rules/copy.wasm");
    std::thread::sleep(std::time::Duration::from_secs(3));
    live.send(&[&record(false)]);
    let (run, folder) = live.end();
    assert_eq!(pairs(&said(&run.ledger)), [("1.0.0", "alert")], "{:#?}", history(&folder.path().join("history")));

    // Alone, it leaves its rule without any version, which is said, and without watching an error.
    fs::remove_file(folder.path().join(FIRST)).expect("removed");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let ended = self::run(["run", "--rules", &path("rules"), "--history", &path("history")]);
    assert_eq!((ended.code, &*ended.stdout), (Some(3), ""));
    assert!(
        ended.stderr.starts_with("portcullis: Test.Versioned 2.0.0 was rolled back (it trapped"),
        "{}",
        ended.stderr
    );
    let (run, folder) = Live::in_folder(folder, &["--watch"]).end();
    assert!(run.ended.stderr.contains("Test.Versioned 2.0.0 was rolled back (it trapped"), "{}", run.ended.stderr);
    let last = history(&folder.path().join("history")).pop().expect("an entry");
    assert_eq!(
        (&last["action"], &last["from"]),
        (&json!("removed"), &json!("1.0.0")),
        "nothing judges, and that is on record"
    );
}

#[test]
fn a_version_activated_at_the_start_can_be_rolled_back() {
    let (_, folder) = live("", &["--watch"]).end();
    fs::write(folder.path().join(SECOND), version("2.0.0", Does::TrapOnLong)).expect("written");
    let mut live = Live::in_folder(folder, &[]);
    live.send(&[&record(false), &record(true)]);
    let (run, folder) = live.end();
    assert_eq!(pairs(&said(&run.ledger)), [("2.0.0", "no-match"), ("1.0.0", "alert")]);
    let actions: Vec<_> = history(&folder.path().join("history")).iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, ["activated", "resumed", "activated", "rolled-back"]);
}

#[test]
fn a_reinstatement_ends_with_its_pin_even_after_a_restart() {
    let live = rolled_back();
    for number in ["2.0.0", "1.0.0"] {
        let before = live.history().len();
        live.put("config.toml", pinned(number).as_bytes());
        live.wait_until(|entries| entries[before..].iter().any(|entry| entry["action"] == "activated"));
    }
    let (_, folder) = live.end();
    fs::write(folder.path().join("config.toml"), "").expect("written");
    let mut live = Live::in_folder(folder, &["--watch"]);
    live.send(&[&record(false)]);
    assert_eq!(pairs(&said(&live.end().0.ledger)), [("1.0.0", "alert")]);
}

/// A version that behaves until it is trusted is not rolled back, but its faults are its own and suspend it.
#[test]
fn a_version_that_turns_hostile_after_its_probation_is_suspended() {
    // Each thread trusts it by itself.
    let mut live = live("", &["--watch", "--threads", "1"]);
    live.put(SECOND, &version("2.0.0", Does::LoopOnLong));
    live.wait_for("activated", "2.0.0");
    let (short, long) = (record(false), record(true));
    let sent: Vec<&str> = std::iter::repeat_n(&*short, 1_001).chain(std::iter::repeat_n(&*long, 15)).collect();
    live.send(&sent);
    let (run, folder) = live.end();
    let faults = run.ledger.iter().filter(|line| line["rules"][VERSIONED]["verdict"] == "fault").count();
    assert_eq!((run.ledger.len(), faults), (1_016, 15));
    assert_eq!(pairs(&said(&run.ledger)), [("2.0.0", "no-match"), ("2.0.0", "fault")]);
    assert_eq!(run.rejects.len(), 15, "each can be judged again");
    assert!(run.ended.stderr.contains("Test.Versioned 2.0.0 is SUSPENDED"), "{}", run.ended.stderr);
    let actions = history(&folder.path().join("history"));
    assert!(actions.iter().all(|entry| entry["action"] != "rolled-back"), "{actions:?}");
}
