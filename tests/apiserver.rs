//! What a real API server wrote, by its log and by its webhook: all of it is judged, and both alike.

use std::fs;

use serde_json::Value;

use crate::support::service::{Service, config, data, lines_of, service_folder};
use crate::support::{NODEPORT, Run, project, run_accounted};

/// What its webhook posted.
fn deliveries() -> Vec<Vec<u8>> {
    (0..6).map(|n| fs::read(project(&format!("fixtures/apiserver/webhook-{n}.json"))).expect("a delivery")).collect()
}

/// In the order of their ids, since deliveries come in any.
fn sorted(mut alerts: Vec<Value>) -> Vec<Value> {
    alerts.sort_by_key(|alert| alert["alert_id"].to_string());
    alerts
}

fn of_log() -> Run {
    run_accounted(&fs::read(project("fixtures/apiserver/audit.log")).expect("the log"), &[])
}

#[test]
fn each_event_of_the_log_and_of_the_webhook_is_judged_and_both_alert_alike() {
    let log = of_log();
    let webhook = run_accounted(&deliveries().concat(), &[]);
    for (name, run) in [("log", &log), ("webhook", &webhook)] {
        assert_eq!(run.ledger.len(), 45, "{name}");
        for line in &run.ledger {
            assert_eq!(
                (&line["outcome"], &line["malformed"]),
                (&"evaluated".into(), &Value::Array(vec![])),
                "{name}: {line}"
            );
        }
    }
    let mut titles: Vec<&str> = log.alerts.iter().map(|alert| alert["title"].as_str().expect("text")).collect();
    titles.sort_unstable();
    assert_eq!(titles.len(), 3, "{titles:?}");
    assert!(titles[0].starts_with("NodePort service shop/") && titles[0].ends_with(" deployed by kubernetes-admin"));
    assert_eq!(
        titles[1..],
        [
            "NodePort service shop/stolen deployed by system:serviceaccount:shop:web",
            "NodePort service shop/web deployed by kubernetes-admin"
        ]
    );
    assert!(log.alerts.iter().all(|alert| alert["rule_id"] == NODEPORT));
    assert_eq!(sorted(webhook.alerts.clone()), sorted(log.alerts.clone()));
}

#[test]
fn what_its_webhook_posts_is_judged_by_the_service() {
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    let mut records = 0;
    for delivery in deliveries() {
        let answer = service.post(delivery);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let receipt = answer.json();
        assert_eq!(receipt["records"], receipt["evaluated"], "{receipt}");
        records += receipt["records"].as_u64().expect("a number");
    }
    assert_eq!(records, 45);
    assert_eq!(sorted(lines_of(&data(&folder, "alerts.ndjson"))), sorted(of_log().alerts));
}
