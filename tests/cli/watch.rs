//! Files that change while records flow: found, swapped in, and written down.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use portcullis::activation::{Activate, Activator, FollowedFiles, History, Policy, RequiredChecks, VersionState};
use portcullis::{Compiler, Engine, Limits};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::service::wait_until;
use crate::support::{
    Does, FIRST, Live, NODEPORT, OPEN_MANIFEST, SECOND, SYSTEM_PRINCIPAL, VERSIONED, exported, history, json_lines,
    live, package, pairs, pinned, project, record, run, said, spec, version, version_that_fails,
};

/// A rule's second version, compiled and packed as the README says, with the test cases that it has: the package.
fn second_version(crate_name: &str, test_cases: usize) -> Vec<u8> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("second-version");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--locked", "--quiet", "--release", "--target", "wasm32-unknown-unknown"]);
    cargo.args(["--package", crate_name, "--target-dir"]).arg(&target);
    let output = cargo.current_dir(project("")).env_remove("RUSTFLAGS").output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let module = format!("wasm32-unknown-unknown/release/{}.wasm", crate_name.replace('-', "_"));
    let module = target.join(module);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let spec = project(&format!("fixtures/rules/{crate_name}/rule.yml"));
    let packed = folder.path().join("packed.wasm");
    let args =
        ["pack".as_ref(), module.as_os_str(), "--spec".as_ref(), spec.as_os_str(), "-o".as_ref(), packed.as_os_str()];
    let ended = run(args);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ended = run(["test".as_ref(), packed.as_os_str()]);
    assert!(ended.stdout.ends_with(&format!("{test_cases} of {test_cases} test cases passed\n")), "{}", ended.stdout);
    fs::read(packed).expect("packed")
}

/// A run that follows the rules that come with the program, as files.
fn live_with_exported() -> Live {
    let (_exported, files) = exported();
    let name = |file: &Path| format!("rules/{}", file.file_name().expect("a name").to_str().expect("UTF-8"));
    let files: Vec<(String, Vec<u8>)> =
        files.iter().map(|file| (name(file), fs::read(file).expect("exported"))).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    let files: Vec<(&str, &[u8])> = files.into_iter().chain([("config.toml", &b""[..])]).collect();
    Live::start(&files, &["--watch"])
}

/// The README's story, with the rules that are published and their second version.
#[test]
fn a_stricter_version_is_swapped_in_and_rolled_back() {
    let packed = second_version("system-principal-public-ip-2", 19);

    // A client that wrote a private address in front of its own.
    let record = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "verb": "list", "stage": "ResponseComplete",
        "user": {"username": "system:serviceaccount:prod:web"}, "sourceIPs": ["10.0.0.1", "54.212.83.236"],
        "objectRef": {"resource": "secrets"}, "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2020-01-01T00:00:00Z",
    })
    .to_string();
    let mut live = live_with_exported();
    let of = |action: &'static str, to: &'static str| {
        move |entry: &Value| entry["rule_id"] == SYSTEM_PRINCIPAL && entry["action"] == action && entry["to"] == to
    };
    live.wait_for_entry(of("activated", "1.0.0"));
    // The alert of the second says that the first is judged.
    live.send(&[&record, &record.replace("\"10.0.0.1\",", "")]);
    assert_eq!(live.alert()["rule_version"], "1.0.0");

    live.put(&format!("rules/{SYSTEM_PRINCIPAL}@2.0.0.wasm"), &packed);
    live.wait_for_entry(of("activated", "2.0.0"));
    live.send(&[&record]);
    assert_eq!(live.alert()["rule_version"], "2.0.0");

    let pin = format!("[activation]\nversions = {{ {SYSTEM_PRINCIPAL:?} = \"1.0.0\" }}\n");
    live.put("config.toml", pin.as_bytes());
    live.wait_for_entry(|entry| of("activated", "1.0.0")(entry) && entry["from"] == "2.0.0");
    live.send(&[&record]);
    let (run, _) = live.end();
    let said: Vec<_> = run.ledger.iter().map(|line| &line["rules"][SYSTEM_PRINCIPAL]).collect();
    let expected = [("1.0.0", "skipped"), ("1.0.0", "alert"), ("2.0.0", "alert"), ("1.0.0", "skipped")];
    assert_eq!(said, expected.map(|(version, verdict)| json!({"version": version, "verdict": verdict})).each_ref());
}

/// Another true story: a service that is changed to `NodePort`, in each of the ways that there are, is no match of the
/// published rule, and one of its second version.
#[test]
fn a_wider_version_is_swapped_in_and_sees_what_is_changed() {
    let packed = second_version("nodeport-service-2", 31);
    let object = json!({"kind": "Service", "metadata": {"name": "inner"}, "spec": {"type": "NodePort"}});
    let changes = [
        ("update", object.clone()),
        ("patch", object),
        ("patch", json!({"spec": {"type": "NodePort"}})),
        ("patch", json!([{"op": "replace", "path": "/spec/type", "value": "NodePort"}])),
    ];
    let records: Vec<String> = (0..)
        .zip(&changes)
        .map(|(n, (verb, sent))| {
            json!({
                "kind": "Event", "apiVersion": "audit.k8s.io/v1", "verb": verb, "stage": "ResponseComplete",
                "user": {"username": "mira"}, "sourceIPs": ["10.0.0.1"], "requestObject": sent,
                "objectRef": {"resource": "services", "namespace": "shop", "name": "inner", "apiVersion": "v1"},
                "responseStatus": {"code": 200}, "requestReceivedTimestamp": format!("2020-01-01T00:00:0{n}Z"),
            })
            .to_string()
        })
        .collect();
    let records: Vec<&str> = records.iter().map(|record| &**record).collect();
    let activated = |version: &'static str| {
        move |entry: &Value| entry["rule_id"] == NODEPORT && entry["action"] == "activated" && entry["to"] == version
    };
    let mut live = live_with_exported();
    live.wait_for_entry(activated("1.0.0"));
    live.send(&records);
    // Its alert says that those before it are judged.
    live.send(&[&records[0].replace("\"update\"", "\"create\"")]);
    assert_eq!(live.alert()["rule_version"], "1.0.0");

    live.put(&format!("rules/{NODEPORT}@2.0.0.wasm"), &packed);
    live.wait_for_entry(activated("2.0.0"));
    live.send(&records);
    for (verb, _) in &changes {
        let alert = live.alert();
        assert_eq!((&alert["rule_version"], &alert["dedup"]), (&json!("2.0.0"), &json!("shop/inner")));
        let title = format!("NodePort service shop/inner deployed by mira with {verb}");
        assert_eq!(alert["title"], title);
    }
    let (run, _) = live.end();
    let said: Vec<_> = run.ledger.iter().map(|line| &line["rules"][NODEPORT]).collect();
    let skipped = [("1.0.0", "skipped"); 4].into_iter();
    let expected = skipped.chain([("1.0.0", "alert")]).chain([("2.0.0", "alert"); 4]);
    let expected: Vec<_> = expected.map(|(version, verdict)| json!({"version": version, "verdict": verdict})).collect();
    assert_eq!(said, expected.iter().collect::<Vec<_>>());
}

/// Versions one after the other, with records flowing all the time. `PORTCULLIS_SWAPS` asks for more of them.
#[test]
fn files_are_swapped_while_records_flow_and_none_is_lost() {
    let swaps: u32 = std::env::var("PORTCULLIS_SWAPS").map_or(8, |swaps| swaps.parse().expect("a number"));
    let does = |n: u32| if n.is_multiple_of(2) { Does::Alert } else { Does::Nothing };
    // Every record is of one minute.
    let mut live = live("[limits]\nalerts-per-minute = 4000000000\n", &["--watch"]);
    // A rule whose alert on each record shows that the record is judged, whatever the versions say of it.
    live.put("rules/Test.Witness@0.1.0.wasm", &package(&Does::Alert.component(), &spec("Test.Witness"), OPEN_MANIFEST));
    live.wait_for("activated", "0.1.0");
    let record = record(false);
    let (mut sent, mut judged) = (0, 0);
    for n in 0..=swaps {
        let number = format!("1.0.{n}");
        if n > 0 {
            live.put(&format!("rules/{VERSIONED}@{number}.wasm"), &version(&number, does(n)));
        }
        let is_active = |live: &Live| live.history().iter().any(|entry| entry["to"] == *number);
        while !is_active(&live) {
            live.send(&[&*record; 20]);
            sent += 20;
        }
        live.send(&[&*record; 10]);
        sent += 10;
        while judged < sent {
            judged += u32::from(live.alert()["rule_id"] == "Test.Witness");
        }
        if n > 1 {
            live.remove(&format!("rules/{VERSIONED}@1.0.{}.wasm", n - 1));
        }
    }
    let (run, _) = live.end();
    let expected: Vec<(String, String)> = (0..=swaps)
        .map(|n| (format!("1.0.{n}"), if does(n) == Does::Alert { "alert" } else { "no-match" }.to_owned()))
        .collect();
    assert_eq!(said(&run.ledger), expected, "each version judged in its turn, and said what it says");
}

#[test]
fn removing_and_adding_a_package_are_swaps_and_a_missing_folder_is_not() {
    let mut live = live("", &["--watch"]);
    live.send(&[&record(false)]);
    live.alert();
    live.remove(FIRST);
    let entry = live.wait_for("removed", "1.0.0");
    assert_eq!(entry["reason"], "its file is gone");
    live.send(&[&record(false)]);
    live.put(FIRST, &version("1.0.0", Does::Alert));
    live.wait_for_entry(|again| again["action"] == "activated" && again["time"].as_str() > entry["time"].as_str());
    live.send(&[&record(false)]);
    live.alert();

    let (rules, away) = (live.path("rules"), live.path("away"));
    fs::rename(&rules, &away).expect("renamed");
    let gone = "rules: cannot be read: No such file or directory (os error 2); the active versions stay active";
    live.wait_for_message(gone);
    live.send(&[&record(false)]);
    live.alert();
    fs::rename(&away, &rules).expect("renamed");
    live.put(SECOND, &version("2.0.0", Does::Nothing));
    live.wait_for("activated", "2.0.0");
    live.send(&[&record(false)]);
    let (run, _) = live.end();
    assert_eq!(
        pairs(&said(&run.ledger)),
        [("1.0.0", "alert"), ("none", "none"), ("1.0.0", "alert"), ("2.0.0", "no-match")]
    );
}

#[test]
fn a_hangup_reloads_rules_and_config_without_watching() {
    let mut live = live("", &[]);
    live.put(SECOND, &version("2.0.0", Does::Nothing));
    live.signal(Signal::HUP);
    live.wait_for("activated", "2.0.0");
    live.send(&[&record(false)]);
    live.put("config.toml", b"[activation]\nactivate = \"never\"\n");
    live.signal(Signal::HUP);
    live.wait_for_message(
        "config.toml:2: activate: \"never\": expected one of \"auto\", \"shadow-then-auto\", \"manual\"; the previous config \
         stays in effect",
    );
    live.put("config.toml", pinned("1.0.0").as_bytes());
    live.signal(Signal::HUP);
    live.wait_for_entry(|entry| entry["action"] == "activated" && entry["from"] == "2.0.0");
    live.end();
}

/// Editors and careless copiers: files that are no packages by their names, and files that are changed in their place.
#[test]
fn temporary_files_of_editors_are_not_packages() {
    let mut live = live("", &["--watch"]);
    for name in [
        ".Test.Versioned@2.0.0.wasm.swp",
        "Test.Versioned@2.0.0.wasm~",
        "4913",
        "#rule#",
        "Test.Versioned@2.0.0.wasm.part",
    ] {
        fs::write(live.path("rules").join(name), version("2.0.0", Does::Nothing)).expect("written");
    }
    fs::create_dir(live.path("rules/folder.wasm")).expect("a folder");
    // Emptied, and written piece by piece.
    let second = version("2.0.1", Does::Nothing);
    live.send(&[&record(false)]);
    live.alert();
    for end in (0..second.len()).step_by(97).chain([second.len()]) {
        fs::write(live.path("rules/piece.wasm"), &second[..end]).expect("written");
        live.send(&[&record(false)]);
    }
    live.wait_for("activated", "2.0.1");
    live.send(&[&record(false)]);
    let (run, folder) = live.end();
    assert_eq!(pairs(&said(&run.ledger)), [("1.0.0", "alert"), ("2.0.1", "no-match")]);
    let others = history(&folder.path().join("history"));
    assert!(others.iter().all(|entry| entry["to"] != "2.0.0"), "{others:?}");
}

#[test]
fn rules_lists_packages_with_their_states_times_and_reasons() {
    let mut live = live("", &["--watch"]);
    live.put(SECOND, &version("2.0.0", Does::Nothing));
    live.wait_for("activated", "2.0.0");
    live.put("rules/Test.Versioned@3.0.0.wasm", &version_that_fails("3.0.0", Does::Nothing));
    live.wait_for("refused", "3.0.0");
    live.put("rules/Test.Versioned@4.0.0.wasm", &version("4.0.0", Does::TrapOnLong));
    live.wait_for("activated", "4.0.0");
    live.send(&[&record(true)]);
    live.wait_for("rolled-back", "4.0.0");
    live.put("rules/broken.wasm", b"broken");
    live.put(
        "rules/Other@1.0.0.wasm",
        &package(&Does::Nothing.component(), &spec("Other"), r#"{"version":"1.0.0","prefilter":{}}"#),
    );
    live.wait_for_entry(|entry| entry["rule_id"] == "Other");
    let folder = live.path("");
    let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    let ended = run(["rules", "--rules", &path("rules"), "--history", &path("history")]);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    insta::with_settings!({filters => vec![(r"since \S+Z", "since [time]"), (r"\(\S+/rules/", "(DIR/")]}, {
        insta::assert_snapshot!(ended.stdout);
    });
    let ended = run(["rules", "--rules", &path("rules"), "--history", &path("history"), "--format", "json"]);
    let state: Vec<_> =
        json_lines(&ended.stdout).iter().map(|line| (line["version"].clone(), line["state"].clone())).collect();
    let expected =
        [("1.0.0", "active"), ("4.0.0", "refused"), ("3.0.0", "refused"), ("2.0.0", "active"), ("1.0.0", "inactive")];
    let expected = expected.map(|(version, state)| (json!(version), json!(state)));
    assert_eq!(state[..5], expected);

    // Looking changes nothing.
    let before = live.history();
    drop(run(["rules", "--rules", &path("rules"), "--history", &path("history")]));
    assert_eq!(live.history(), before);
    live.end();
}

#[test]
fn a_history_with_a_broken_end_is_continued() {
    let live = live("", &[]);
    let (_, folder) = live.end();
    let file = folder.path().join("history");
    let whole = fs::read_to_string(&file).expect("written");
    fs::write(&file, format!("{whole}{}", &whole[..20])).expect("written");
    let (run, folder) = Live::in_folder(folder, &[]).end();
    let warning = format!("portcullis: warning: {}:2: not an entry of a history, and ignored\n", file.display());
    assert!(run.ended.stderr.contains(&warning), "{}", run.ended.stderr);
    let text = fs::read_to_string(folder.path().join("history")).expect("written");
    let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!((text.lines().count(), &last["action"]), (3, &json!("resumed")));
}

#[test]
fn a_file_that_is_not_a_history_is_not_appended_to() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::write(path("rule.wasm"), version("1.0.0", Does::Nothing)).expect("written");
    fs::write(path("records"), record(false)).expect("written");
    let ended = run(["run", &path("records"), "--rules", &path("rule.wasm"), "--history", &path("records")]);
    let message = format!(
        "portcullis: {}: cannot be opened: it is not a history: its first line is not an entry\n",
        path("records")
    );
    assert_eq!((ended.code, ended.stderr), (Some(4), message));
    assert_eq!(fs::read_to_string(path("records")).expect("there"), record(false));
}

#[test]
fn rules_that_come_with_the_program_cannot_be_followed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("history");
    let file = file.to_str().expect("UTF-8");
    let ended = run(["rules", "--rules", file]);
    let message = format!("portcullis: {file}: cannot be read: No such file or directory (os error 2)\n");
    assert_eq!((ended.code, ended.stderr), (Some(3), message));
    for args in [&["run", "--watch"][..], &["run", "--history", file]] {
        let ended = run(args);
        let message = format!(
            "portcullis: {}: the embedded rules never change; name packages or folders with --rules\n",
            args[1]
        );
        assert_eq!((ended.code, ended.stderr), (Some(2), message));
    }
}

/// The config says that versions are activated by hand, and then a package is put, while the config of before is read.
#[test]
fn a_config_that_is_changed_before_a_package_is_put_counts_for_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (rules, config) = (folder.path().join("rules"), folder.path().join("config.toml"));
    fs::create_dir(&rules).expect("a folder");
    fs::write(&config, "").expect("written");
    let mut activator =
        Activator::new(Arc::new(History::default()), RequiredChecks::TestCases, jiff::Timestamp::now, |_| {});
    let store = activator.add_store(vec![rules.clone()], Compiler::new(Engine::new().expect("an engine")));
    let tenant = activator.add_tenant("default".into(), store, Policy::default(), Limits::default());
    let follow = FollowedFiles { stores: true, held: false, configs: vec![config.clone()] };
    let reload = move || {
        let before = fs::read_to_string(&config).expect("it is there");
        if before.is_empty() {
            fs::write(&config, "activate = \"manual\"").expect("written");
            fs::write(rules.join("package.wasm"), version("1.0.0", Does::Alert)).expect("written");
        }
        let activate = if before.is_empty() { Activate::Auto } else { Activate::Manual };
        Ok(vec![(tenant, Policy { activate, ..Policy::default() })])
    };
    let control = activator.run(follow, Box::new(reload)).expect("a thread");
    let list = || control.list().expect("the thread runs").remove(tenant);
    wait_until("the package is found", || !list().is_empty());
    assert_eq!(list()[0].state, VersionState::Waiting, "{:?}", list());
}
