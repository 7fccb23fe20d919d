//! A start: the service listens at once, each tenant waits only for its own rules, and what was proved stays proved.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::service::{API, PUBLISHER, Service, config, data, lines_of, service_folder, wait_until};
use crate::support::{Does, record, slow_to_check, version};

/// Two tenants with rules of their own, whose records differ in the verb.
fn two_tenants(more: &str) -> tempfile::TempDir {
    let tenant = |name: &str, verb: &str| {
        format!("[[tenants]]\nname = \"{name}\"\nrules = [\"{name}\"]\nrecords = [{{ verb = \"{verb}\" }}]\n")
    };
    let folder = service_folder(&config(&[&*tenant("slow", "list"), &tenant("quick", "get"), more].concat()));
    for name in ["slow", "quick"] {
        fs::create_dir(folder.path().join(name)).expect("made");
    }
    folder
}

fn put(folder: &Path, file: &str, bytes: &[u8]) {
    fs::write(folder.join(file), bytes).expect("written");
}

fn history(folder: &tempfile::TempDir, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
    lines_of(&data(folder, "history.ndjson")).into_iter().filter(is_it).collect()
}

/// Seven packages of a tenant take more than a minute to check. They come first, by the order of the tenants.
#[test]
fn a_tenant_whose_rules_take_long_to_check_holds_up_no_other() {
    let folder = two_tenants("");
    for n in 0..7 {
        put(folder.path(), &format!("slow/{n}.wasm"), &slow_to_check(&format!("Test.Slow{n}"), "1.0.0"));
    }
    put(folder.path(), "quick/1.wasm", &version("1.0.0", Does::Alert));
    let began = Instant::now();
    let service = Service::start(folder.path(), &[]);
    // Batches of both wait for a minute. On a very busy machine, it is over before the quick tenant is served.
    let is_late = || began.elapsed() > Duration::from_secs(50);
    let (quick, slow) = (record(false), record(false).replace("get", "list"));
    let both = format!("{quick}\n{slow}");
    assert_eq!(service.get("/healthz").status, 200);
    assert!(!service.is_ready(), "it is not sent records of tenants that wait for their rules");
    let send = |body: &str| service.ask_once(API, "POST", "/v1/records", body.as_bytes());
    let answer = send(&slow);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text);
    assert_eq!(answer.json()["error"], "the rules of tenant slow are still being checked");

    wait_until("the quick tenant is served", || send(&quick).status == 200);
    let refused = || history(&folder, |entry| entry["tenant"] == "slow").len();
    assert!(refused() <= 2, "while most of the other's packages wait");
    let answer = send(&both);
    assert!(answer.status == 503 || is_late(), "{}", answer.text);
    // A config that is read again in the middle changes nothing: no part of a tenant's rules judges alone.
    service.reload("reloaded clients and certificates", 1);
    let answer = send(&both);
    assert!(answer.status == 503 || is_late(), "{}", answer.text);
    assert!((service.figure("portcullis_tenant_ready{tenant=\"quick\"}") - 1.0).abs() < 0.1);
    assert!(service.figure("portcullis_tenant_ready{tenant=\"slow\"}").abs() < 0.1);
    let seen = service.live(crate::support::service::EYES, |kind, _| kind == "overview");
    let reasons = &seen.last().expect("an overview").1["not_ready"];
    let is_said = *reasons == json!(["the rules of tenant slow are still being checked"]);
    assert!(is_said || is_late(), "{reasons}");

    // A new version of the quick tenant takes its turn.
    put(folder.path(), "quick/2.wasm", &version("2.0.0", Does::Nothing));
    let is_new = |entry: &Value| entry["tenant"] == "quick" && entry["to"] == "2.0.0";
    let before = refused();
    wait_until("its new version is active", || !history(&folder, is_new).is_empty());
    assert!(refused() <= before + 2, "{} checked in the meantime", refused() - before);

    // Nothing of the others waits for it for ever.
    wait_until("others wait no longer", || service.is_ready());
    let receipt = service.post(both).json();
    assert_eq!(receipt["warning"], "tenant slow has no active rule: 1 events are dead letters", "{receipt}");
    assert_eq!(service.end().0, Some(0));

    // What was active comes first after a restart.
    let before = refused();
    let service = Service::start(folder.path(), &[]);
    wait_until("the quick tenant is served", || {
        service.ask_once(API, "POST", "/v1/records", quick.as_bytes()).status == 200
    });
    assert_eq!(refused(), before, "it did not wait for any package of the other");
}

/// With so little memory for the compiler, no component can be compiled.
#[test]
fn a_restart_compiles_and_checks_nothing_again() {
    let folder = two_tenants("");
    put(folder.path(), "quick/1.wasm", &version("1.0.0", Does::Alert));
    let service = Service::start(folder.path(), &[]);
    assert_eq!(service.post(record(false)).json()["alerts"], 1);
    service.kill();
    let compiled = fs::read_dir(data(&folder, "compiled")).expect("the folder");
    let compiled: Vec<_> = compiled.map(|file| file.expect("a file").path()).collect();
    let proofs = compiled.iter().filter(|file| file.extension().is_some_and(|ending| ending == "tests"));
    assert_eq!((compiled.len(), proofs.count()), (2, 1));

    let text = fs::read_to_string(folder.path().join("config.toml")).expect("the config");
    put(folder.path(), "config.toml", format!("{text}\n[limits]\ncompile-memory = \"64 MiB\"\n").as_bytes());
    let service = Service::start(folder.path(), &[]);
    assert_eq!(service.post(record(false)).json()["alerts"], 1);
    let resumed = history(&folder, |entry| entry["action"] == "resumed");
    assert_eq!(resumed[0]["test_cases"], json!({"passed": 1, "failed": 0}), "{resumed:?}");

    // The limit is one.
    put(folder.path(), "quick/2.wasm", &version("2.0.0", Does::Nothing));
    let is_refused = |entry: &Value| entry["action"] == "refused" && entry["to"] == "2.0.0";
    wait_until("it is refused", || !history(&folder, is_refused).is_empty());
    assert_eq!(service.end().0, Some(0));

    // A folder to which others can write is not used, and the operator is told.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(data(&folder, "compiled"), mode).expect("set");
    put(folder.path(), "config.toml", text.as_bytes());
    let service = Service::start(folder.path(), &[]);
    wait_until("the second version is active", || service.post(record(false)).json()["alerts"] == 0);
    let (_, log, _) = service.end();
    let is_it = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("each start compiles"));
    assert_eq!(log.iter().filter(|line| is_it(line)).count(), 1, "{log:#?}");
}

#[test]
fn a_tenant_may_publish_a_thousand_packages() {
    let folder = two_tenants("");
    put(folder.path(), "quick/1.wasm", &version("1.0.0", Does::Alert));
    for n in 0..999 {
        put(folder.path(), &format!("quick/other-{n}.wasm"), b"");
    }
    let service = Service::start(folder.path(), &[]);
    assert_eq!(service.post(record(false)).json()["alerts"], 1);
    let second = version("2.0.0", Does::Nothing);
    let answer = service.ask(PUBLISHER, "PUT", "/v1/packages/quick", &second);
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert!(answer.text.contains("the tenant would have 1001 packages"), "{}", answer.text);
    assert_eq!(service.ask(PUBLISHER, "PUT", "/v1/packages/slow", &second).status, 202, "another tenant may");
    // Who puts more of them there otherwise is told, and what judges goes on.
    for n in 1_000..2_000 {
        put(folder.path(), &format!("quick/other-{n}.wasm"), b"");
    }
    put(folder.path(), "quick/2.wasm", &second);
    service.wait_for_log("has 2001 packages", 1);
    assert_eq!(service.post(record(false)).json()["alerts"], 1);
    let is_second = |entry: &Value| entry["tenant"] == "quick" && entry["to"] == "2.0.0";
    assert!(history(&folder, is_second).is_empty());
    assert_eq!(service.end().0, Some(0));
}
