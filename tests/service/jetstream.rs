//! Batches that lie in a stream until a replica judges them.

use std::fs;

use serde_json::Value;

use crate::support::api_server::{event_list, events};
use crate::support::nats::Nats;
use crate::support::service::{Service, config, data, lines_of, service_folder, wait_until};
use crate::support::{Does, hostile, record, sample, text, version};

const ALERTS: &str = "[[serve.sinks]]\nname = \"alerts\"\ntype = \"jetstream\"\n";

/// A replica with more of its own.
fn replica(nats: &Nats, more: &str) -> tempfile::TempDir {
    service_folder(&config(&format!(
        "[serve.jetstream]\nurl = {:?}\nack-wait = \"1s\"\nattempts = 3\n{more}\n{ALERTS}",
        nats.url()
    )))
}

fn start(folder: &tempfile::TempDir) -> Service {
    let service = Service::start(folder.path(), &[]);
    wait_until("it is ready", || service.get("/readyz").status == 200);
    service
}

fn alerts(nats: &Nats) -> Vec<Value> {
    let messages = nats.messages("portcullis-alerts");
    messages.iter().map(|(_, payload)| serde_json::from_slice(payload).expect("JSON")).collect()
}

#[test]
#[ignore = "needs nats-server: ./test"]
fn one_replica_takes_batches_and_another_judges_them() {
    let nats = Nats::start();
    let (front, back) = (replica(&nats, "work = false"), replica(&nats, "ingest = false"));
    let front_service = start(&front);
    let answer = front_service.post(fs::read(sample("eks.ndjson")).expect("read"));
    assert_eq!((answer.status, answer.json()["records"].as_u64()), (200, Some(12)), "{}", answer.text);
    assert_eq!(front_service.post("{\"kind\":\"EventList\",\"items\":[{").status, 400);
    // Brought again, as by who has not heard the answer, it is the same batch.
    let again = front_service.post(fs::read(sample("eks.ndjson")).expect("read"));
    assert_eq!(again.json(), answer.json());
    assert_eq!(nats.count("portcullis-records"), 1);
    let back_service = start(&back);
    wait_until("it is judged", || nats.unjudged() == 0);
    assert_eq!(back_service.post("{}").status, 404, "it takes batches out of the stream only");
    let ledger = lines_of(&data(&back, "ledger.ndjson"));
    assert_eq!(ledger.len(), 12);
    assert!(ledger.iter().all(|line| line["batch"] == answer.json()["batch"]));
    assert_eq!(alerts(&nats).len(), 6);
    for service in [front_service, back_service] {
        assert_eq!(service.end().0, Some(0));
    }
}

#[test]
#[ignore = "needs nats-server: ./test"]
fn a_batch_that_is_too_large_for_a_message_is_judged_too() {
    let nats = Nats::start();
    let folder = replica(&nats, "");
    let service = start(&folder);
    // What cannot be compressed.
    let mut dice = crate::support::api_server::Dice::new(5);
    let noise: String = (0..3_000_000).map(|_| char::from(b'!' + u8::try_from(dice.below(90)).expect("few"))).collect();
    let (_, event) = events(3, 1).next().expect("an event");
    let mut event: Value = serde_json::from_str(&event).expect("JSON");
    event["userAgent"] = noise.into();
    let mut node_port: Value =
        serde_json::from_str(fs::read_to_string(sample("eks.ndjson")).expect("read").lines().next().expect("a line"))
            .expect("JSON");
    node_port["userAgent"] = event["userAgent"].clone();
    let answer = service.post(event_list([&*event.to_string(), &*node_port.to_string()]));
    assert_eq!(answer.status, 200, "{}", answer.text);
    wait_until("it is judged", || nats.unjudged() == 0);
    assert_eq!(lines_of(&data(&folder, "ledger.ndjson")).len(), 2);
    assert_eq!(alerts(&nats).len(), 1);
    wait_until("the object is removed", || nats.objects("portcullis-batches") == 0);
    assert_eq!(service.end().0, Some(0));
}

#[test]
#[ignore = "needs nats-server: ./test"]
fn batches_of_other_publishers_are_judged_or_become_dead_letters_with_the_reason() {
    let nats = Nats::start();
    let folder = replica(&nats, "");
    let service = start(&folder);
    nats.publish("portcullis.records", &[], b"no JSON at all");
    nats.publish("portcullis.records.fluent-bit", &[("Portcullis-Tenant", "globex")], b"{}");
    nats.publish("portcullis.records", &[("Portcullis-Object", "gone")], b"");
    let record = fs::read(sample("gke.ndjson")).expect("read");
    nats.publish("portcullis.records.fluent-bit", &[], &record);
    wait_until("all is judged or put aside", || nats.unjudged() == 0);
    assert_eq!(lines_of(&data(&folder, "ledger.ndjson")).len(), 8);
    let dead = nats.messages("portcullis-dead");
    let reasons: Vec<&String> = dead.iter().map(|(headers, _)| headers).collect();
    for expected in ["not JSON", "unknown tenant globex", "given up after 3 attempts"] {
        assert!(reasons.iter().any(|headers| headers.contains(expected)), "{expected}: {reasons:#?}");
    }
    assert!(dead.iter().any(|(_, payload)| payload == b"no JSON at all"), "what was put aside is there");
    assert!(service.figure(r#"portcullis_messages_total{result="dead"}"#) >= 3.0);
    assert_eq!(service.end().0, Some(0));
}

#[test]
#[ignore = "needs nats-server: ./test"]
fn without_the_server_batches_are_refused_and_later_accepted() {
    let mut nats = Nats::start();
    let folder = replica(&nats, "");
    let service = start(&folder);
    nats.kill();
    wait_until("it is not ready", || service.get("/readyz").status == 503);
    let answer = service.post(fs::read(sample("gke.ndjson")).expect("read"));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text);
    nats.start_again();
    wait_until("it is ready", || service.get("/readyz").status == 200);
    assert_eq!(service.post(fs::read(sample("gke.ndjson")).expect("read")).status, 200);
    wait_until("it is judged", || nats.unjudged() == 0);
    assert_eq!(service.end().0, Some(0));
}

/// With the `max-bytes` that a config has if it says nothing.
#[test]
#[ignore = "needs nats-server: ./test"]
fn a_server_with_too_little_room_for_the_stream_is_named_with_what_to_do() {
    let nats = Nats::start_small();
    let folder = replica(&nats, "");
    let service = Service::start(folder.path(), &[]);
    service.wait_for_log("insufficient storage resources available", 1);
    service.wait_for_log("lower max-bytes in the table [serve.jetstream]", 1);
    assert!(!service.is_ready());
    assert_eq!(service.end().0, Some(0));
}

#[test]
#[ignore = "needs nats-server: ./test"]
fn an_incident_is_the_same_on_every_replica() {
    let nats = Nats::start();
    let folders = [(); 2].map(|()| replica(&nats, ""));
    let services = folders.each_ref().map(start);
    let line = fs::read_to_string(sample("eks.ndjson")).expect("read").lines().next().expect("a line").to_owned();
    for (n, service) in services.iter().enumerate() {
        // Two records of one minute are two alerts.
        let mut record: Value = serde_json::from_str(&line).expect("JSON");
        record["auditID"] = format!("{n}").into();
        assert_eq!(service.post(record.to_string()).status, 200);
    }
    wait_until("they are judged", || nats.unjudged() == 0);
    let alerts = alerts(&nats);
    assert_eq!(alerts.len(), 2);
    assert_ne!(text(&alerts[0]["alert_id"]), text(&alerts[1]["alert_id"]));
    assert_eq!(text(&alerts[0]["incident_id"]), text(&alerts[1]["incident_id"]));
    for service in services {
        assert_eq!(service.end().0, Some(0));
    }
}

/// The endpoint is down and one tenant's spool is full. Its batches wait in the stream, and those of the other are judged.
#[test]
#[ignore = "needs nats-server: ./test"]
fn a_tenant_whose_spool_is_full_does_not_hold_up_the_stream() {
    let nats = Nats::start();
    let part = |name: &str| {
        format!(
            "[[serve.clients]]\nname = \"{name}\"\ntenant = \"{name}\"\nroles = [\"ingest\"]\ntoken-file = \"{name}\"\n\
             [[tenants]]\nname = \"{name}\"\nrules = [\"rules-{name}\"]\n"
        )
    };
    let webhook =
        "[[serve.sinks]]\nname = \"soc\"\ntype = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\nspool = \"1MiB\"\n";
    let folder = service_folder(&config(&format!(
        "[serve.jetstream]\nurl = {:?}\n{webhook}{}{}",
        nats.url(),
        part("acme"),
        part("globex")
    )));
    for (name, package) in [("acme", hostile("large-contexts")), ("globex", version("1.0.0", Does::Alert))] {
        let rules = folder.path().join(format!("rules-{name}"));
        fs::create_dir(&rules).expect("made");
        fs::write(rules.join("rule.wasm"), package).expect("written");
        fs::write(folder.path().join(name), format!("the-token-of-the-client-{name}")).expect("written");
    }
    let service = start(&folder);
    let send = |name: &str, n: u64| {
        let event =
            |k: u64| record(false).replace("\"get\"", &format!("\"get\",\"auditID\":\"{name}-{n}-{k}\"")) + "\n";
        let body: String = (0..20).map(event).collect();
        let answer = service.ask(&format!("the-token-of-the-client-{name}"), "POST", "/v1/records", body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    // More batches than are judged at once.
    (0..40).for_each(|n| send("acme", n));
    (0..5).for_each(|n| send("globex", n));
    let judged = || lines_of(&data(&folder, "ledger.ndjson")).iter().filter(|line| line["tenant"] == "globex").count();
    wait_until("the other tenant's batches are judged", || judged() == 100);
    assert!(nats.unjudged() >= 30, "those of the first wait");
    assert!(service.is_ready(), "others are served");
    let (code, log, _) = service.end();
    assert_eq!(code, Some(0));
    // What cannot be stored is not judged again and again, which would use up its rules' alerts of each minute.
    let is_in_vain = |line: &&Value| line.to_string().contains("the results of a batch cannot be stored");
    let in_vain = log.iter().filter(is_in_vain).count();
    assert!((1..=8).contains(&in_vain), "{in_vain} of 40");
}
