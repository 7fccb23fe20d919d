//! What was accepted is safe: the service is killed at random moments while an API server sends.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::api_server::{self, Dice, Sent};
use crate::support::nats::Nats;
use crate::support::service::{PATIENCE, Service, config, data, lines_of, service_folder, wait_until};
use crate::support::{run, text};

/// Kills in a run of the tests; `PORTCULLIS_KILLS` asks for more.
fn kills() -> u64 {
    std::env::var("PORTCULLIS_KILLS").map_or(6, |kills| kills.parse().expect("a number"))
}

/// The ids of the alerts that `portcullis run` raises on these events, by audit id.
fn expected_alerts(sent: &Sent) -> HashMap<String, HashSet<String>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("events.ndjson");
    let events: Vec<&str> = sent.events.values().map(String::as_str).collect();
    std::fs::write(&file, events.join("\n")).expect("written");
    // The budget of alerts is each minute's, and these events are all of the same few.
    let budget = folder.path().join("config.toml");
    std::fs::write(&budget, BUDGET).expect("written");
    let paths = [file, budget].map(|path| path.to_str().expect("UTF-8").to_owned());
    let ended = run(["run", "--format", "ndjson", &paths[0], "--config", &paths[1]]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut expected: HashMap<String, HashSet<String>> = HashMap::new();
    for line in ended.stdout.lines() {
        let alert: Value = serde_json::from_str(line).expect("JSON");
        expected.entry(text(&alert["audit_id"])).or_default().insert(text(&alert["alert_id"]));
    }
    expected
}

const BUDGET: &str = "[limits]\nalerts-per-minute = 4000000000\n";

/// Every accepted record is in the ledger, under the batch that it was accepted with; what was wrong with one is in the dead
/// letters too; and every alert on an accepted record is there once.
fn check(sent: &Sent, ledgers: &[Vec<Value>], dead_letters: &[Value], alerts: &[Value]) {
    assert!(!sent.accepted.is_empty(), "nothing was accepted");
    let mut by_batch: HashMap<String, Vec<&Value>> = HashMap::new();
    for ledger in ledgers {
        for (n, line) in ledger.iter().enumerate() {
            assert_eq!(line["n"], n, "the numbers of a ledger go on after a start");
            by_batch.entry(text(&line["batch"])).or_default().push(line);
        }
    }
    // By the record itself: a dead letter of a batch that was refused counts when the batch comes again under another id.
    let id_and_place = |line: &Value| {
        let record: Value = serde_json::from_str(&text(&line["record"])).expect("the record is JSON");
        (text(&record["auditID"]), text(&line["place"]))
    };
    let dead: HashSet<(String, String)> = dead_letters.iter().map(id_and_place).collect();
    for (receipt, ids) in &sent.accepted {
        let lines = by_batch.get(&text(&receipt["batch"])).unwrap_or_else(|| panic!("{receipt} is in no ledger"));
        assert_eq!(receipt["records"], ids.len(), "{receipt}");
        // What lay in the stream may have been judged by one that died, and again.
        assert!(lines.len() == ids.len() || receipt["stored"] == true, "each record of {receipt} has one line");
        let of_lines: HashSet<String> = lines.iter().map(|line| text(&line["audit_id"])).collect();
        assert_eq!(of_lines, ids.iter().cloned().collect(), "{receipt}");
        for line in lines.iter().filter(|line| line["malformed"].as_array().is_some_and(|paths| !paths.is_empty())) {
            assert!(dead.contains(&(text(&line["audit_id"]), text(&line["place"]))), "{line} is no dead letter");
        }
        if let Some(alerts) = receipt["alerts"].as_u64() {
            let verdicts = lines.iter().flat_map(|line| line["rules"].as_object().into_iter().flatten());
            assert_eq!(verdicts.filter(|(_, rule)| rule["verdict"] == "alert").count() as u64, alerts, "{receipt}");
        }
    }
    let mut seen = HashSet::new();
    for alert in alerts {
        assert!(seen.insert(text(&alert["alert_id"])), "{alert} is there twice");
        assert!(sent.events.contains_key(&text(&alert["audit_id"])), "{alert} is of nothing that was sent");
    }
    let expected = expected_alerts(sent);
    for (_, ids) in &sent.accepted {
        for id in ids.iter().filter_map(|id| expected.get(id)).flatten() {
            assert!(seen.contains(id), "an alert on an accepted record is not there");
        }
    }
}

/// Kills a service at random moments, and starts it again each time; now and then it may end well.
fn kill_again_and_again(mut service: Service, kills: u64, folder: &Path, addresses: &Mutex<Vec<String>>) -> Service {
    let mut dice = Dice::new(kills);
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(20 + dice.below(500)));
        if dice.below(4) == 0 {
            let (code, log, _) = service.end();
            assert_eq!(code, Some(0), "{log:#?}");
        } else {
            service.kill();
        }
        service = Service::start(folder, &[]);
        *addresses.lock().expect("nobody panicked") = vec![service.address.clone()];
    }
    service
}

#[test]
fn accepted_batches_survive_a_kill_at_any_moment() {
    let kills = kills();
    let folder = service_folder(&config(BUDGET));
    let service = Service::start(folder.path(), &[]);
    let addresses = Mutex::new(vec![service.address.clone()]);
    let stops = AtomicBool::new(false);
    let (sent, service) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| api_server::send(7, &addresses, &stops, Duration::from_millis(20)));
        let service = kill_again_and_again(service, kills, folder.path(), &addresses);
        std::thread::sleep(Duration::from_millis(300));
        stops.store(true, Ordering::Relaxed);
        (sending.join().expect("it sends"), service)
    });
    let records = service.figure(r#"portcullis_records_total{tenant="default",outcome="evaluated"}"#);
    let (code, log, _) = service.end();
    assert_eq!(code, Some(0));
    let said = log.iter().filter_map(|line| line["message"].as_str()).find(|message| message.contains(" records = "));
    assert!(said.is_some_and(|said| said.contains(&format!(" {records} evaluated"))), "{records} or {said:?}");
    let [ledger, dead_letters, alerts] =
        ["ledger.ndjson", "dead-letters.ndjson", "alerts.ndjson"].map(|name| lines_of(&data(&folder, name)));
    check(&sent, &[ledger], &dead_letters, &alerts);
    sum_up(kills, &sent, &alerts);
}

fn sum_up(kills: u64, sent: &Sent, alerts: &[Value]) {
    eprintln!(
        "{kills} kills: {} batches of {} records accepted, {} tries failed, {} batches dropped by the API server, {} alerts",
        sent.accepted.len(),
        sent.accepted.iter().map(|(_, ids)| ids.len()).sum::<usize>(),
        sent.failed_tries,
        sent.dropped,
        alerts.len()
    );
}

/// The config of a replica that stores what comes, and judges what is stored.
fn replica(nats: &Nats) -> String {
    let jetstream = format!("[serve.jetstream]\nurl = {:?}\n", nats.url());
    config(&format!("{BUDGET}{jetstream}[[serve.sinks]]\nname = \"alerts\"\ntype = \"jetstream\"\n"))
}

/// Sends to so many replicas on one stream, and kills one of them, or the server with the stream, again and again.
fn replicas(count: usize, kills: u64) {
    let mut nats = Nats::start();
    let folders: Vec<_> = (0..count).map(|_| service_folder(&replica(&nats))).collect();
    let mut services: Vec<Service> = folders.iter().map(|folder| Service::start(folder.path(), &[])).collect();
    let is_ready = |service: &Service| service.get("/readyz").status == 200;
    wait_until("all replicas are ready", || services.iter().all(is_ready));
    let of = |services: &[Service]| services.iter().map(|service| service.address.clone()).collect::<Vec<_>>();
    let addresses = Mutex::new(of(&services));
    let stops = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let sending = scope.spawn(|| api_server::send(count as u64, &addresses, &stops, Duration::from_millis(20)));
        let mut dice = Dice::new(kills + count as u64);
        for kill in 0..kills {
            std::thread::sleep(Duration::from_millis(20 + dice.below(700)));
            if kill % 3 == 2 {
                nats.kill();
                std::thread::sleep(Duration::from_millis(dice.below(500)));
                nats.start_again();
                continue;
            }
            let number = usize::try_from(dice.below(count as u64)).expect("few");
            services.remove(number).kill();
            services.insert(number, Service::start(folders[number].path(), &[]));
            *addresses.lock().expect("nobody panicked") = of(&services);
        }
        std::thread::sleep(Duration::from_millis(300));
        stops.store(true, Ordering::Relaxed);
        sending.join().expect("it sends")
    });
    let began = Instant::now();
    while nats.unjudged() > 0 {
        // What a replica had in flight comes again after the default `ack-wait`, several times in a row.
        assert!(began.elapsed() < 3 * PATIENCE, "all is judged: {}", nats.state());
        std::thread::sleep(Duration::from_millis(50));
    }
    for service in services {
        let (code, log, _) = service.end();
        assert_eq!(code, Some(0), "{log:#?}");
    }
    let ledgers: Vec<_> = folders.iter().map(|folder| lines_of(&data(folder, "ledger.ndjson"))).collect();
    let dead_letters: Vec<Value> =
        folders.iter().flat_map(|folder| lines_of(&data(folder, "dead-letters.ndjson"))).collect();
    let alerts = nats.messages("portcullis-alerts");
    let alerts: Vec<Value> = alerts.iter().map(|(_, payload)| serde_json::from_slice(payload).expect("JSON")).collect();
    assert_eq!(nats.count("portcullis-dead"), 0, "nothing was given up");
    check(&sent, &ledgers, &dead_letters, &alerts);
    sum_up(kills, &sent, &alerts);
}

#[test]
#[ignore = "needs nats-server: ./test"]
fn two_replicas_on_one_stream_lose_nothing_whichever_is_killed() {
    replicas(2, kills());
}

#[test]
#[ignore = "needs nats-server: ./test"]
fn four_replicas_on_one_stream_lose_nothing_whichever_is_killed() {
    replicas(4, kills());
}
