//! What no rule has seen: the client is told, and so is the operator of the service.

use std::fs;

use serde_json::{Value, json};

use crate::support::NODEPORT;
use crate::support::seen::{EVENT, OTHER, SUSPECT, created};
use crate::support::service::{API, Service, config, data, lines_of, service_folder, wait_until};

/// The messages of a log at level warn that have this in them.
fn warned<'l>(log: &'l [Value], text: &str) -> Vec<&'l str> {
    let warnings = log.iter().filter(|line| line["level"] == "WARN");
    warnings.filter_map(|line| line["message"].as_str()).filter(|said| said.contains(text)).collect()
}

#[test]
fn a_batch_that_no_rule_sees_is_reported_to_client_and_operator() {
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    let unseen = format!("{OTHER}\n{SUSPECT}\n");
    let warning = "no record was evaluated: 2 read, 2 ignored. The first ignored record is api:1: not the shape of a \
                   Kubernetes audit record of EKS, AKS or GKE. portcullis explain FILE shows how a record is \
                   understood";
    for _ in 0..2 {
        let receipt = service.post(&unseen).json();
        assert_eq!(
            (&receipt["ignored"], &receipt["suspect"], &receipt["warning"]),
            (&json!(2), &json!(1), &json!(warning))
        );
    }
    let receipt = service.post(format!("{EVENT}\n{unseen}broken\n")).json();
    assert_eq!((&receipt["evaluated"], &receipt["suspect"], receipt.get("warning")), (&json!(1), &json!(1), None));
    assert_eq!(service.post(format!("{EVENT}\nbroken\n")).json()["rejected"], 1);
    // It is news again.
    assert_eq!(service.post(&unseen).json()["warning"], warning);
    assert_eq!(service.post((created(&json!({})) + "\n").repeat(3)).status, 200);
    assert_eq!(service.post(created(&json!({}))).status, 200);

    let ledger = lines_of(&data(&folder, "ledger.ndjson"));
    let line = &ledger[1];
    assert_eq!(
        (&line["place"], &line["audit_id"], &line["outcome"]),
        (&json!("api:2"), &json!("a-1"), &json!("ignored"))
    );
    assert!(
        line["reason"].as_str().is_some_and(|reason| reason.ends_with("its text contains audit.k8s.io/")),
        "{line}"
    );
    let text = fs::read_to_string(data(&folder, "ledger.ndjson")).expect("it is there");
    for line in text.lines() {
        assert_eq!(line.matches("\"place\":").count(), 1, "{line}");
        assert!(line.matches("\"audit_id\":").count() <= 1, "{line}");
    }
    assert_eq!(figure(&service, r#"portcullis_suspect_records_total{tenant="default"}"#), "4");
    assert_eq!(figure(&service, r#"portcullis_ignored_batches_total{client="api"}"#), "3");
    let blind = format!("portcullis_blind_events_total{{tenant=\"default\",rule=\"{NODEPORT}\"}}");
    assert_eq!(figure(&service, &blind), "4");

    let (code, log, _) = service.end();
    assert_eq!(code, Some(0));
    let twice = warned(&log, "no record was evaluated");
    assert_eq!(twice, [&*format!("api: warning: {warning}"); 2], "{log:#?}");
    let once = [
        (
            "the record was ignored, but its text",
            "api:2: warning: the record was ignored, but its text contains audit.k8s.io/",
        ),
        ("the record is rejected", "api:4: warning: the record is rejected: not JSON: "),
        ("is blind to", "api:1: Kubernetes.Service.NodePort.Deployed 1.0.0: warning: it is blind to"),
    ];
    for (text, start) in once {
        let said = warned(&log, text);
        assert!(said.len() == 1 && said[0].starts_with(start), "{text}: {said:#?}");
    }
}

/// A figure as it is written.
fn figure(service: &Service, name: &str) -> String {
    service.figure(name).to_string()
}

/// Names that clients give themselves make no series without end, and no others than theirs.
#[test]
#[ignore = "needs nats-server: ./test"]
fn unseen_batches_of_a_stream_are_reported_too() {
    let nats = crate::support::nats::Nats::start();
    let folder = service_folder(&config(&format!("[serve.jetstream]\nurl = {:?}\n", nats.url())));
    let service = Service::start(folder.path(), &[]);
    wait_until("it is ready", || service.is_ready());
    let receipt = service.ask(API, "POST", "/v1/records", SUSPECT.as_bytes()).json();
    assert_eq!((&receipt["stored"], &receipt["suspect"]), (&json!(true), &json!(1)));
    let warning = receipt["warning"].as_str().expect("a warning");
    assert!(
        warning.starts_with("no record was evaluated: 1 read, 1 ignored. The first ignored record is api:1: "),
        "{warning}"
    );
    assert_eq!(service.ask(API, "POST", "/v1/records", EVENT.as_bytes()).json().get("warning"), None);
    nats.publish("portcullis.records", &[("Portcullis-Client", "a\"b")], OTHER.as_bytes());
    wait_until("all is judged", || nats.unjudged() == 0 && lines_of(&data(&folder, "ledger.ndjson")).len() == 3);
    for client in ["api", "(others)"] {
        let name = format!("portcullis_ignored_batches_total{{client=\"{client}\"}}");
        wait_until(&name, || service.get("/metrics").text.contains(&name));
        assert_eq!(figure(&service, &name), "1");
    }
    assert_eq!(figure(&service, r#"portcullis_suspect_records_total{tenant="default"}"#), "1");
    let (_, log, _) = service.end();
    assert_eq!(warned(&log, "api: warning: no record was evaluated: 1 read").len(), 1, "{log:#?}");
}
