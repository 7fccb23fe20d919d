//! The service as its clients meet it.

use std::fs;

use crate::support::api_server::{event_list, events};
use crate::support::sample;
use crate::support::service::{Service, config, data, lines_of, service_folder};

#[test]
fn a_delivery_is_answered_when_all_of_it_is_kept() {
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    let answer = service.post(fs::read(sample("eks.ndjson")).expect("read"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    let receipt = answer.json();
    let ledger = lines_of(&data(&folder, "ledger.ndjson"));
    let alerts = lines_of(&data(&folder, "alerts.ndjson"));
    assert_eq!((receipt["records"].as_u64(), ledger.len()), (Some(12), 12));
    assert_eq!((receipt["alerts"].as_u64(), alerts.len()), (Some(6), 6));
    assert!(ledger.iter().all(|line| line["delivery"] == receipt["delivery"]));
    // Brought again, it is judged again, and its alerts are there already.
    assert_eq!(service.post(fs::read(sample("eks.ndjson")).expect("read")).status, 200);
    assert_eq!(lines_of(&data(&folder, "alerts.ndjson")), alerts);
    assert_eq!(lines_of(&data(&folder, "ledger.ndjson")).len(), 24);
    let events: Vec<String> = events(1, 400).map(|(_, event)| event).collect();
    let answer = service.post(event_list(events.iter().map(String::as_str)));
    assert_eq!(answer.json()["records"], 400);
    let (code, _, _) = service.end();
    assert_eq!(code, Some(0));
}
