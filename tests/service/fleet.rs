//! Versions of rules on all replicas of a service: published once, proved by each.

use std::fs;

use serde_json::Value;

use crate::support::nats::Nats;
use crate::support::service::{PUBLISHER, Service, agent, ask, config, data, lines_of, service_folder, wait_until};
use crate::support::{Does, VERSIONED, record, run, version, version_that_fails};

/// A replica that has the rules that are published.
fn replica(nats: &Nats) -> String {
    config(&format!("[serve.jetstream]\nurl = {:?}\nrules = true\n", nats.url()))
}

/// Brings something with the token of `publisher`.
fn publish(service: &Service, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
    let authorization = format!("Bearer {PUBLISHER}");
    let answer = ask(&agent(), method, &service.url(path), &[("Authorization", &authorization)], body);
    let answer = answer.expect("it answers");
    (answer.status, answer.json())
}

/// On how many replicas a version stands so.
fn state(service: &Service, version: &str, word: &str) -> usize {
    let replicas = service.get("/v1/rules").json()["replicas"].clone();
    let rules =
        replicas.as_array().into_iter().flatten().flat_map(|report| report["rules"].as_array().into_iter().flatten());
    rules.filter(|rule| rule["version"] == version && rule["state"] == word).count()
}

fn wait_for(service: &Service, version: &str, word: &str, replicas: usize) {
    wait_until(&format!("{version} is {word}"), || state(service, version, word) == replicas);
}

#[test]
#[ignore = "needs nats-server: ./test"]
fn a_version_is_published_once_and_checked_by_every_replica() {
    let mut nats = Nats::start();
    let folders = [(); 2].map(|()| service_folder(&replica(&nats)));
    let mut services = folders.each_ref().map(|folder| Service::start(folder.path(), &[]));
    assert_eq!(services[0].get("/readyz").status, 503, "no rule is active yet");

    let (status, answer) = publish(&services[0], "PUT", "/v1/packages/default", &version("1.0.0", Does::Alert));
    assert_eq!(status, 202, "{answer}");
    wait_for(&services[1], "1.0.0", "active", 2);
    wait_until("both are ready", || services.iter().all(|service| service.get("/readyz").status == 200));
    assert_eq!(publish(&services[1], "PUT", "/v1/packages/default", &version("2.0.0", Does::Nothing)).0, 202);
    wait_for(&services[0], "2.0.0", "active", 2);
    // Who fails its test cases is refused by each, with the reason.
    assert_eq!(publish(&services[1], "PUT", "/v1/packages/default", &version_that_fails("3.0.0", Does::Alert)).0, 202);
    wait_for(&services[0], "3.0.0", "refused", 2);

    let pin = format!("versions = {{ {VERSIONED:?} = \"1.0.0\" }}\n");
    assert_eq!(publish(&services[1], "PUT", "/v1/activation/default", pin.as_bytes()).0, 202);
    wait_for(&services[0], "1.0.0", "active", 2);
    for service in &services {
        let answer = service.post(record(false));
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let server = services[0].url("");
    let token = folders[0].path().join("eyes");
    let ended = run(["rules", "--server", &server, "--token-file", token.to_str().expect("UTF-8")]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("1.0.0      active on 2 of 2: "), "{}", ended.stdout);
    assert!(ended.stdout.contains("3.0.0      refused on 2 of 2: "), "{}", ended.stdout);

    // A replica that starts while no server is there has what it had.
    nats.kill();
    let [first, second] = services;
    first.kill();
    let first = Service::start(folders[0].path(), &[]);
    wait_until("it has what it had", || state(&first, "1.0.0", "active") == 1);
    nats.start_again();
    assert_eq!(publish(&second, "DELETE", "/v1/activation/default", b"").0, 202);
    wait_for(&first, "2.0.0", "active", 2);
    services = [first, second];

    let file = format!("/v1/packages/default/{VERSIONED}@2.0.0.wasm");
    assert_eq!(publish(&services[0], "DELETE", &file, b"").0, 202);
    wait_until("it is gone", || {
        folders
            .iter()
            .all(|folder| !folder.path().join("data/packages/default").join(format!("{VERSIONED}@2.0.0.wasm")).exists())
    });
    for service in services {
        assert_eq!(service.end().0, Some(0));
    }
}

/// A replica keeps its copies of packages, unless they were removed at the server. So a server that has lost its data
/// takes no rules, and nothing is accepted that no rule judges.
#[test]
#[ignore = "needs nats-server: ./test"]
fn a_server_that_comes_back_empty_takes_no_rules() {
    let mut nats = Nats::start();
    let folders = [(); 2].map(|()| service_folder(&replica(&nats)));
    let services = folders.each_ref().map(|folder| Service::start(folder.path(), &[]));
    assert_eq!(publish(&services[0], "PUT", "/v1/packages/default", &version("1.0.0", Does::Alert)).0, 202);
    wait_for(&services[1], "1.0.0", "active", 2);

    nats.kill();
    wait_until("it is noticed", || services.iter().all(|service| !service.is_ready()));
    nats.start_empty();
    wait_until("both are ready again", || services.iter().all(Service::is_ready));
    wait_for(&services[0], "1.0.0", "active", 2);
    let newcomer = service_folder(&replica(&nats));
    let fresh = Service::start(newcomer.path(), &[]);
    wait_until("it stores, and does not judge", || fresh.post(record(false)).json()["stored"] == true);
    wait_until("all is judged", || nats.unjudged() == 0);
    let ledger = |folder: &tempfile::TempDir| lines_of(&data(folder, "ledger.ndjson"));
    let lines: Vec<Value> = folders.iter().flat_map(ledger).collect();
    assert!(lines.iter().all(|line| line["rules"][VERSIONED]["verdict"] == "alert"), "{lines:#?}");
    assert!(!lines.is_empty() && ledger(&newcomer).is_empty(), "those with rules have judged");
    assert!(!fresh.is_ready(), "it has no rules");

    assert_eq!(publish(&services[0], "PUT", "/v1/packages/default", &version("1.0.0", Does::Alert)).0, 202);
    wait_for(&fresh, "1.0.0", "active", 3);
    for service in services {
        let (code, log, _) = service.end();
        assert_eq!(code, Some(0));
        let is_told = |line: &&Value| line["message"].as_str().is_some_and(|said| said.contains("publish them again"));
        assert_eq!(log.iter().filter(is_told).count(), 1, "{log:#?}");
    }
    assert_eq!(fresh.end().0, Some(0));
}

#[test]
fn on_one_machine_packages_go_into_the_folder_that_is_followed() {
    let folder = service_folder(
        &(config("") + "[[tenants]]\nname = \"acme\"\nrules = [\"rules\"]\nrecords = [{ input = \"api\" }]\n"),
    );
    fs::create_dir(folder.path().join("rules")).expect("made");
    let service = Service::start(folder.path(), &[]);
    assert_eq!(publish(&service, "PUT", "/v1/packages/acme", &version("1.0.0", Does::Alert)).0, 202);
    wait_for(&service, "1.0.0", "active", 1);
    assert_eq!(service.post(record(false)).json()["alerts"], 1);
    assert_eq!(publish(&service, "PUT", "/v1/packages/acme", &version("1.1.0", Does::Nothing)).0, 202);
    wait_for(&service, "1.1.0", "active", 1);
    assert_eq!(
        publish(
            &service,
            "PUT",
            "/v1/activation/acme",
            format!("versions = {{ {VERSIONED:?} = \"1.0.0\" }}").as_bytes()
        )
        .0,
        202
    );
    wait_for(&service, "1.0.0", "active", 1);

    for (method, path, body, status, expected) in [
        ("PUT", "/v1/packages/acme", &version("1.0.0", Does::Nothing)[..], 409, "other content"),
        ("PUT", "/v1/packages/acme", b"no package", 400, "not WebAssembly"),
        ("PUT", "/v1/packages/globex", b"", 404, "unknown tenant globex"),
        ("DELETE", "/v1/packages/acme/..%2f..%2fapi", b"", 404, "unknown package"),
        ("DELETE", "/v1/packages/acme/none.wasm", b"", 404, "unknown package"),
        ("PUT", "/v1/activation/acme", b"activate = \"never\"", 400, "line 1"),
        ("PUT", "/v1/activation/acme", "#".repeat(70_000).as_bytes(), 413, "more than 65536 bytes"),
        ("PUT", "/v1/activation/acme", b"\"trusted\\u002dkeys\" = []", 403, "trusted-keys"),
    ] {
        let (found, answer) = publish(&service, method, path, body);
        assert!(
            found == status && answer["error"].as_str().is_some_and(|error| error.contains(expected)),
            "{path}: {found} {answer}"
        );
    }
    let authorization = format!("Bearer {}", crate::support::service::API);
    let answer = ask(&agent(), "PUT", &service.url("/v1/packages/acme"), &[("Authorization", &authorization)], b"");
    assert_eq!(answer.expect("it answers").status, 403, "to bring records is not to bring rules");
    assert_eq!(service.end().0, Some(0));
}
