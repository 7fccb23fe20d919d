//! Measures what it costs to take records over HTTP and through a stream: the throughput of `serve` relative to that of
//! `run` on the same records, measured in turns in one run, with one, two and four replicas. Clients, replicas and the
//! server share the processors of one machine.
//!
//! ```sh
//! cargo bench --bench serve
//! ```

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::api_server::event_list;
use support::nats::Nats;
use support::service::{API, Service, agent, ask, config, service_folder};

#[expect(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../../../tests/support/mod.rs"]
mod support;

/// The number of records in a round.
const RECORDS: usize = 200_000;

/// The number of records in a batch, as an API server has them by default.
const BATCH: usize = 400;

/// The number of batches that are sent at once.
const AT_ONCE: usize = 8;

/// The number of rounds of each kind. The median counts.
const ROUNDS: usize = 3;

/// Limits without a budget of alerts, so that every match is an alert.
const BUDGET: &str = "[limits]\nalerts-per-minute = 4000000000\n";

/// A candidate: its name, the index of the candidate that it is compared with, and a function that returns its time.
type Candidate<'w> = (&'w str, usize, Box<dyn Fn() -> Duration + 'w>);

/// Returns the time that `run` takes, with as many threads as a service has.
fn run(batches: &[String], folder: &std::path::Path, ledger: bool) -> Duration {
    let (input, rules) = (folder.join("records"), folder.join("config.toml"));
    if !input.exists() {
        fs::write(&input, batches.join("\n")).expect("written");
        fs::write(&rules, BUDGET).expect("written");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(["run", "--quiet", "--config"]).arg(rules).arg("--output").arg(folder.join("alerts"));
    // With a cache of compiled rules, the time to start is negligible.
    command.arg("--cache").arg(folder.join("cache")).arg(input);
    if ledger {
        command.arg("--ledger").arg(folder.join("ledger"));
    }
    let began = Instant::now();
    assert!(command.status().expect("it starts").success());
    began.elapsed()
}

/// Returns the time to send the batches to these services, until `is_done`.
fn serve(batches: &[String], services: &[Service], is_done: impl Fn() -> bool) -> Duration {
    let next = AtomicUsize::new(0);
    let authorization = format!("Bearer {API}");
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let agent = agent();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(batch) = batches.get(number) else { return };
                    let url = services[number % services.len()].url("/v1/records");
                    let headers = [("Authorization", &*authorization)];
                    let answer = ask(&agent, "POST", &url, &headers, batch.as_bytes()).expect("it answers");
                    assert_eq!(answer.status, 200, "{}", answer.text);
                }
            });
        }
    });
    while !is_done() {
        std::thread::sleep(Duration::from_millis(2));
    }
    began.elapsed()
}

fn over_http(batches: &[String], ledger: bool) -> Duration {
    let config = config(BUDGET);
    let folder = service_folder(&if ledger { config } else { config.replace("ledger =", "# ledger =") });
    let services = [Service::start(folder.path(), &[])];
    let took = serve(batches, &services, || true);
    for service in services {
        service.end();
    }
    took
}

fn through_a_stream(batches: &[String], replicas: usize) -> Duration {
    let nats = Nats::start();
    let jetstream = format!("[serve.jetstream]\nurl = {:?}\n", nats.url());
    let sink = "[[serve.sinks]]\nname = \"alerts\"\ntype = \"jetstream\"\n";
    let config = config(&format!("{BUDGET}{jetstream}{sink}"));
    let folders: Vec<_> = (0..replicas).map(|_| service_folder(&config)).collect();
    let services: Vec<_> = folders.iter().map(|folder| Service::start(folder.path(), &[])).collect();
    support::service::wait_until("all are ready", || {
        services.iter().all(|service| service.get("/readyz").status == 200)
    });
    let took = serve(batches, &services, || nats.unjudged() == 0);
    for service in services {
        service.end();
    }
    took
}

fn main() {
    let records: Vec<String> = support::api_server::events(1, RECORDS).map(|(_, event)| event).collect();
    let batches: Vec<String> =
        records.chunks(BATCH).map(|batch| event_list(batch.iter().map(String::as_str))).collect();
    let bytes: usize = batches.iter().map(String::len).sum();
    println!("{RECORDS} records of {} bytes on average, {BATCH} in a batch", bytes / RECORDS);
    let folder = tempfile::tempdir().expect("a temporary folder");
    // A warm-up: fills the file system's cache and the cache of compiled rules.
    run(&batches, folder.path(), true);
    let ways: [Candidate<'_>; 7] = [
        ("run", 0, Box::new(|| run(&batches, folder.path(), false))),
        ("serve", 0, Box::new(|| over_http(&batches, false))),
        ("run, with a ledger", 2, Box::new(|| run(&batches, folder.path(), true))),
        ("serve", 2, Box::new(|| over_http(&batches, true))),
        ("JetStream, 1 replica", 2, Box::new(|| through_a_stream(&batches, 1))),
        ("JetStream, 2 replicas", 2, Box::new(|| through_a_stream(&batches, 2))),
        ("JetStream, 4 replicas", 2, Box::new(|| through_a_stream(&batches, 4))),
    ];
    let mut took: Vec<Vec<Duration>> = vec![Vec::new(); ways.len()];
    for _ in 0..ROUNDS {
        for ((_, _, way), took) in ways.iter().zip(&mut took) {
            took.push(way());
        }
    }
    let middle: Vec<f64> = took
        .iter_mut()
        .map(|took| {
            took.sort();
            took[ROUNDS / 2].as_secs_f64()
        })
        .collect();
    for ((name, base, _), seconds) in ways.iter().zip(&middle) {
        let rate = f64::from(u32::try_from(RECORDS).expect("fewer")) / seconds;
        println!("{name:<24} {rate:>9.0} records/s   {:.2} of run", middle[*base] / seconds);
    }
}
