//! Which version of a rule becomes active, and which never does: proof, pins, and by hand.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    Does, FIRST, Live, SECOND, VERSIONED, exported, history, live, package, pairs, pinned, project, record, run, said,
    slow_to_check, version, version_that_fails, versioned_spec,
};

#[test]
fn a_candidate_that_fails_its_checks_judges_no_event() {
    let keys = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| keys.path().join(name).to_str().expect("UTF-8").to_owned();
    let key = run(["keygen", &path("key")]).stdout;
    let sign = |bytes: &[u8]| {
        fs::write(path("unsigned.wasm"), bytes).expect("written");
        let ended = run(["pack", &path("unsigned.wasm"), "--key", &path("key"), "-o", &path("signed.wasm"), "--force"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        fs::read(path("signed.wasm")).expect("written")
    };
    let config = format!("[activation]\ntrusted-keys = [\"{}\"]\n", key.trim());
    let mut live = Live::start(
        &[(FIRST, &sign(&version("1.0.0", Does::Alert))), ("config.toml", config.as_bytes())],
        &["--watch"],
    );
    live.wait_for("activated", "1.0.0");
    let record = record(false);
    let good = sign(&version("3.0.0", Does::Nothing));
    let half = &good[..good.len() / 2];
    let cases: [(&str, &[u8], &str); 6] = [
        (
            "2.0.0",
            &sign(&version_that_fails("2.0.0", Does::Nothing)),
            "1 of its 1 test cases fail; \"any\": expected an alert, found no alert",
        ),
        (
            "2.0.1",
            &sign(&version("2.0.1", Does::Loop)),
            "1 of its 1 test cases fail; \"any\": expected no alert, found a fault: the rule ran longer than its limit \
             of 10ms",
        ),
        (
            "2.0.2",
            &version("2.0.2", Does::Nothing),
            "it is not signed; only packages that a trusted key has signed are accepted",
        ),
        (
            "2.0.3",
            &sign(&version("2.0.4", Does::Nothing)),
            "its file name does not match its content, which is Test.Versioned 2.0.4",
        ),
        (
            "2.0.5",
            &sign(&version("1.0.0", Does::Nothing)),
            "its file name does not match its content, which is Test.Versioned 1.0.0",
        ),
        ("3.0.0", half, "not a rule's component: it is not valid WebAssembly: unexpected end-of-file"),
    ];
    for (number, bytes, reason) in cases {
        let file = format!("rules/{VERSIONED}@{number}.wasm");
        // As somebody writes who is not careful: in its place.
        fs::write(live.path(&file), bytes).expect("written");
        live.send(&[&*record; 10]);
        live.alert();
        let entry = live.wait_for_entry(|entry| {
            entry["action"] == "refused" && entry["file"].as_str().is_some_and(|named| named.ends_with(&file))
        });
        assert!(entry["reason"].as_str().expect("a reason").starts_with(reason), "{entry}");
        live.send(&[&*record; 10]);
    }
    // The rest of the file that was half there.
    fs::write(live.path("rules/Test.Versioned@3.0.0.wasm"), good).expect("written");
    let activated = live.wait_for("activated", "3.0.0");
    assert_eq!((&activated["from"], &activated["signer"]), (&json!("1.0.0"), &json!(key.trim())));
    assert_eq!(activated["test_cases"], json!({"passed": 1, "failed": 0}));
    live.send(&[&record]);
    let (run, _) = live.end();
    assert_eq!(pairs(&said(&run.ledger)), [("1.0.0", "alert"), ("3.0.0", "no-match")]);
}

#[test]
fn an_older_version_is_activated_only_by_a_pin() {
    let mut live = live("", &["--watch"]);
    live.put(SECOND, &version("2.0.0", Does::Nothing));
    live.wait_for("activated", "2.0.0");
    // As somebody does who can write into the folder, and wants the rule to be what it was.
    live.remove(SECOND);
    let refused = live.wait_for("refused", "1.0.0");
    let reason = "it is older than 2.0.0, which was active; to roll back on purpose, pin it in the config: versions = { \"Test.Versioned\" = \"1.0.0\" }";
    assert_eq!(refused["reason"], reason);
    live.send(&[&record(false)]);
    let (run, folder) = live.end();
    assert_eq!(pairs(&said(&run.ledger)), [("2.0.0", "no-match")], "it goes on with what was active");

    // Nor at another start.
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let ended = self::run(["run", "--rules", &path("rules"), "--history", &path("history")]);
    assert_eq!((ended.code, ended.stderr), (Some(3), format!("portcullis: {}: {reason}\n", path(FIRST))));
    let pin = pinned("1.0.0");
    fs::write(path("config.toml"), pin).expect("written");
    let mut live = Live::in_folder(folder, &[]);
    live.send(&[&record(false)]);
    let (run, folder) = live.end();
    assert_eq!(pairs(&said(&run.ledger)), [("1.0.0", "alert")], "who pins it gets it");
    let last = history(&folder.path().join("history")).pop().expect("an entry");
    assert_eq!((&last["action"], &last["from"], &last["to"]), (&json!("activated"), &json!("2.0.0"), &json!("1.0.0")));
}

#[test]
fn other_bytes_for_a_known_version_are_refused() {
    let live = live("", &["--watch"]);
    live.put(FIRST, &version("1.0.0", Does::Nothing));
    let refused = live.wait_for("refused", "1.0.0");
    let reason = "a different package was active with this version: give the new package another version, even if only \
                  its signature is new";
    assert_eq!(refused["reason"], reason);
    let mut live = live;
    live.send(&[&record(false)]);
    assert_eq!(pairs(&said(&live.end().0.ledger)), [("1.0.0", "alert")]);
}

#[test]
fn a_refused_version_is_checked_again() {
    let mut live = live("", &["--watch"]);
    live.put("rules/a.wasm", &version("2.0.0", Does::Nothing));
    live.wait_for("activated", "2.0.0");
    live.at_once(|| {
        for (name, does) in [("b", Does::Alert), ("c", Does::Nothing)] {
            live.put(&format!("rules/{name}.wasm"), &version("3.0.0", does));
        }
    });
    let twice =
        |entry: &Value| entry["reason"].as_str().is_some_and(|reason| reason.starts_with("two different packages"));
    live.wait_until(|entries| entries.iter().filter(|entry| twice(entry)).count() == 2);
    live.remove("rules/b.wasm");
    live.wait_for("activated", "3.0.0");
    live.send(&[&record(false)]);
    assert_eq!(pairs(&said(&live.end().0.ledger)), [("3.0.0", "no-match")]);
}

#[test]
fn with_manual_activation_a_file_deactivates_nothing() {
    let mut live = live(&pinned_by_hand("1.0.0"), &["--watch"]);
    live.put("config.toml", b"[activation]\nactivate = \"manual\"\n");
    let disabled = versioned_spec(false).replace("Enabled: true", "Enabled: false");
    live.put(SECOND, &package(&Does::Nothing.component(), &disabled, r#"{"version":"2.0.0","prefilter":{}}"#));
    live.wait_for("waiting", "2.0.0");
    live.send(&[&record(false)]);
    assert_eq!(pairs(&said(&live.end().0.ledger)), [("1.0.0", "alert")]);
}

/// Of two tenants, one whose packages are refused: nothing of the other's is on record that never judged.
#[test]
fn a_start_that_fails_activates_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::write(path("good.wasm"), version("1.0.0", Does::Alert)).expect("written");
    fs::write(path("bad.wasm"), version_that_fails("1.0.0", Does::Alert)).expect("written");
    let tenant = |name: &str| {
        format!("[[tenants]]\nname = \"{name}\"\nrules = [\"{name}.wasm\"]\nrecords = [{{ verb = \"{name}\" }}]\n")
    };
    fs::write(path("config.toml"), tenant("good") + &tenant("bad")).expect("written");
    let ended = run(["run", "--config", &path("config.toml"), "--history", &path("history")]);
    assert_eq!(ended.code, Some(3));
    assert!(
        ended.stderr.starts_with(&format!("portcullis: tenant bad: {}: 1 of its 1 test cases", path("bad.wasm"))),
        "{}",
        ended.stderr
    );
    let entries = history(&folder.path().join("history"));
    assert_eq!(entries.len(), 1, "{entries:#?}");
    assert_eq!((&entries[0]["action"], &entries[0]["tenant"]), (&json!("refused"), &json!("bad")));
}

#[test]
fn test_cases_use_up_no_budget_of_alerts() {
    let (_exported, files) = exported();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config.toml");
    fs::write(&config, "[limits]\nalerts-per-minute = 0\nsuspend-after = 1\n").expect("written");
    let rules = files.iter().flat_map(|file| ["--rules".as_ref(), file.as_os_str()]);
    let ended = run(["run".as_ref(), "--config".as_ref(), config.as_os_str()].into_iter().chain(rules));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn a_pin_of_a_missing_version_is_reported() {
    let config = "[activation]\nversions = { \"Test.Versionned\" = \"1.0.0\" }\n";
    let (run, _) = live(config, &["--watch"]).end();
    let said = "versions: no package has the RuleID Test.Versionned; expected one of Test.Versioned";
    assert_eq!(run.ended.stderr.matches(said).count(), 1, "{}", run.ended.stderr);
}

#[test]
fn a_range_takes_the_newest_of_its_versions_and_a_pre_release_only_by_name() {
    let config = pinned("^1");
    let mut live = live(&config, &["--watch"]);
    for (number, does) in [("2.0.0", Does::Nothing), ("1.5.0-rc.1", Does::Nothing), ("1.4.0", Does::Alert)] {
        live.put(&format!("rules/{VERSIONED}@{number}.wasm"), &version(number, does));
    }
    live.wait_for("activated", "1.4.0");
    live.send(&[&record(false)]);
    live.alert();
    live.put("config.toml", b"");
    live.wait_for("activated", "2.0.0");
    live.put("config.toml", config.replace("^1", "1.5.0-rc.1").as_bytes());
    live.wait_for("activated", "1.5.0-rc.1");
    live.send(&[&record(false)]);
    live.put("config.toml", config.replace("^1", "7.0.0").as_bytes());
    live.send(&[&record(false)]);
    live.wait_for_message("Test.Versioned is pinned to 7.0.0");
    let (run, folder) = live.end();
    assert_eq!(pairs(&said(&run.ledger)), [("1.4.0", "alert"), ("1.5.0-rc.1", "no-match")]);
    let missing =
        "Test.Versioned is pinned to 7.0.0, which does not exist; existing versions: 1.0.0, 1.4.0, 1.5.0-rc.1, 2.0.0";
    assert!(run.ended.stderr.contains(missing), "{}", run.ended.stderr);

    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let ended = self::run(["run", "--rules", &path("rules"), "--config", &path("config.toml")]);
    assert_eq!((ended.code, ended.stderr), (Some(3), format!("portcullis: {missing}\n")));
}

/// Returns a config in which nothing but a pin activates this version.
fn pinned_by_hand(number: &str) -> String {
    format!("[activation]\nactivate = \"manual\"\nversions = {{ {VERSIONED:?} = \"{number}\" }}\n")
}

#[test]
fn with_manual_activation_a_version_waits_for_its_pin() {
    let mut live = live(&pinned_by_hand("1.0.0"), &["--watch"]);
    live.put("config.toml", b"[activation]\nactivate = \"manual\"\n");
    live.put(SECOND, &version("2.0.0", Does::Nothing));
    let waiting = live.wait_for("waiting", "2.0.0");
    assert_eq!(
        waiting["reason"],
        "to activate it, pin it in the config: versions = { \"Test.Versioned\" = \"2.0.0\" }"
    );
    live.send(&[&record(false)]);
    live.alert();
    live.put("config.toml", pinned_by_hand("2.0.0").as_bytes());
    live.wait_for("activated", "2.0.0");
    live.send(&[&record(false)]);
    let (run, folder) = live.end();
    assert_eq!(pairs(&said(&run.ledger)), [("1.0.0", "alert"), ("2.0.0", "no-match")]);

    // Another start goes on with what was active, whatever has come meanwhile.
    fs::write(folder.path().join("config.toml"), "[activation]\nactivate = \"manual\"\n").expect("written");
    let third = version("3.0.0", Does::Alert);
    fs::write(folder.path().join("rules/third.wasm"), &third).expect("written");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let batch = ["run", "--rules", &path("rules"), "--config", &path("config.toml"), "--history", &path("history")];
    let ended = self::run(batch);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut live = Live::in_folder(folder, &["--watch"]);
    live.wait_for("resumed", "2.0.0");
    live.wait_for("waiting", "3.0.0");
    live.send(&[&record(false)]);
    let (run, folder) = live.end();
    assert_eq!(pairs(&said(&run.ledger)), [("2.0.0", "no-match")]);

    // And one without a history has nothing to go on with.
    fs::remove_file(folder.path().join("history")).expect("removed");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let ended = self::run(["run", "--rules", &path("rules"), "--config", &path("config.toml")]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("third.wasm: to activate it, pin it in the config"), "{}", ended.stderr);
    let live = Live::in_folder(folder, &["--watch"]);
    live.wait_for("waiting", "3.0.0");
    let (run, _) = live.end();
    assert!(run.ended.stderr.contains("no rule is active, so no record can raise an alert"), "{}", run.ended.stderr);
}

#[test]
fn the_documented_config_is_valid() {
    let readme = fs::read_to_string(project("docs/rules.md")).expect("the page");
    let configs = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let configs: Vec<&str> =
        configs.map(|(config, _)| config).filter(|config| config.contains("[activation]")).collect();
    assert_eq!(configs.len(), 2);
    let (_exported, files) = exported();
    for config in configs {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("config.toml");
        fs::write(&file, config).expect("written");
        let args = ["rules".as_ref(), "--config".as_ref(), file.as_os_str(), "--rules".as_ref(), files[0].as_os_str()];
        let ended = run(args);
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    }
}

#[test]
fn rules_signed_by_a_revoked_key_are_deactivated() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let keys = ["a", "b"].map(|name| run(["keygen", &path(name)]).stdout.trim().to_owned());
    fs::write(path("unsigned.wasm"), version("1.0.0", Does::Alert)).expect("written");
    assert_eq!(run(["pack", &path("unsigned.wasm"), "--key", &path("a"), "-o", &path("signed.wasm")]).code, Some(0));
    let trusting = |key: &str| format!("[activation]\ntrusted-keys = [\"{key}\"]\n");
    let signed = fs::read(path("signed.wasm")).expect("written");
    let mut live = Live::start(&[(FIRST, &signed), ("config.toml", trusting(&keys[0]).as_bytes())], &["--watch"]);
    live.wait_for("activated", "1.0.0");
    live.put("config.toml", trusting(&keys[1]).as_bytes());
    let removed = live.wait_for("removed", "1.0.0");
    assert_eq!(removed["reason"], "its signer is no longer a trusted key");
    live.send(&[&record(false)]);
    let run = live.end().0;
    assert_eq!(pairs(&said(&run.ledger)), [("none", "none")]);
    assert_eq!(run.rejects.len(), 1, "what no rule has judged is kept");
    assert_eq!(run.rejects[0]["reason"], "the tenant has no active rule");
}

#[test]
fn each_tenant_has_its_own_versions_of_a_rule() {
    let config = format!(
        "[[tenants]]\nname = \"old\"\nrecords = [{{ verb = \"list\" }}]\nactivation.versions = {{ {VERSIONED:?} = \"1.0.0\" }}\n\
         [[tenants]]\nname = \"new\"\nrecords = [{{ verb = \"get\" }}]\n"
    );
    let mut live =
        Live::start(&[(FIRST, &version("1.0.0", Does::Alert)), ("config.toml", config.as_bytes())], &["--watch"]);
    live.put(SECOND, &version("2.0.0", Does::Nothing));
    live.wait_for("activated", "2.0.0");
    live.send(&[&record(false), &record(false).replace("get", "list")]);
    let (run, folder) = live.end();
    assert_eq!(pairs(&said(&run.ledger)), [("2.0.0", "no-match"), ("1.0.0", "alert")]);
    assert_eq!([&run.ledger[0]["tenant"], &run.ledger[1]["tenant"]], ["new", "old"]);
    let tenants: Vec<_> =
        history(&folder.path().join("history")).into_iter().filter(|entry| entry["to"] == "2.0.0").collect();
    assert!(tenants.iter().all(|entry| entry["tenant"] == "new"), "{tenants:?}");
}

/// They would hold up all other candidates for a minute.
#[test]
fn test_cases_have_a_budget_of_time_for_each_candidate() {
    let mut live = Live::start(&[(FIRST, &version("1.0.0", Does::Alert))], &["--watch"]);
    live.put(SECOND, &slow_to_check(VERSIONED, "2.0.0"));
    let entry = live.wait_for("refused", "2.0.0");
    let reason = entry["reason"].as_str().expect("a reason");
    assert_eq!(reason, "its test cases take more than 10 s of CPU time; use fewer or cheaper ones");
    live.send(&[&record(true)]);
    assert_eq!(pairs(&said(&live.end().0.ledger)), [("1.0.0", "alert")]);
}

/// Many of them wait for their turns, while another tenant's candidate and its operator's pin come first.
#[test]
fn slow_candidates_of_one_tenant_do_not_hold_up_another() {
    let tenant =
        |name: &str, more: &str| format!("[[tenants]]\nname = \"{name}\"\nrecords = [{{ verb = \"{name}\" }}]\n{more}");
    let slow = tenant("slow", "rules = [\"slow\"]\n");
    let config = slow.clone() + &tenant("quick", "");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["rules", "slow"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
        fs::write(folder.path().join(name).join("first.wasm"), version("1.0.0", Does::Nothing)).expect("written");
    }
    fs::write(folder.path().join("config.toml"), &config).expect("written");
    let live = Live::in_folder(folder, &["--watch"]);
    live.wait_for_entry(|entry| entry["tenant"] == "quick");
    let is_refused = |entry: &Value| entry["tenant"] == "slow" && entry["action"] == "refused";
    let refused = |entries: &[Value]| entries.iter().filter(|entry| is_refused(entry)).count();
    for n in 0..6 {
        live.put(&format!("slow/{n}.wasm"), &slow_to_check(&format!("Test.Slow{n}"), "1.0.0"));
    }
    live.wait_for_entry(is_refused);
    live.put("rules/second.wasm", &version("2.0.0", Does::Nothing));
    let entries = live.wait_until(|entries| entries.iter().any(|entry| entry["to"] == "2.0.0"));
    assert!(refused(&entries) <= 2, "{entries:#?}");
    let pin = format!("activation.versions = {{ {VERSIONED:?} = \"1.0.0\" }}\n");
    live.put("config.toml", (slow + &tenant("quick", &pin)).as_bytes());
    let is_pinned = |entry: &Value| entry["from"] == "2.0.0" && entry["to"] == "1.0.0";
    let entries = live.wait_until(|entries| entries.iter().any(is_pinned));
    assert!(refused(&entries) <= 4, "{entries:#?}");
    live.end();
}

#[test]
fn a_package_whose_test_cases_fail_runs_nowhere_but_can_be_explained() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("rule.wasm");
    fs::write(&file, version_that_fails("1.0.0", Does::Nothing)).expect("written");
    let file = file.to_str().expect("UTF-8");
    let ended = run(["run", "--rules", file]);
    let message =
        format!("portcullis: {file}: 1 of its 1 test cases fail; \"any\": expected an alert, found no alert\n");
    assert_eq!((ended.code, ended.stderr), (Some(3), message));
    let record_file = folder.path().join("record.json");
    fs::write(&record_file, record(false)).expect("written");
    let ended = run(["explain", "--rules", file, record_file.to_str().expect("UTF-8")]);
    assert!(ended.code == Some(0) && ended.stdout.contains("    no match: "), "{}{}", ended.stdout, ended.stderr);
}
