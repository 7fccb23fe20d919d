//! A simulation of the service: the real ingest, workers, sinks, logs and fleet on disks, a server and an endpoint that
//! fail. Time, faults and the order of tasks follow from a seed, so that each failure can be seen again:
//!
//! ```text
//! PORTCULLIS_SEED=17 cargo test -p portcullis-serve simulation
//! PORTCULLIS_SEEDS=10000 cargo test -p portcullis-serve simulation
//! ```

mod check;
mod connection;
mod dice;
mod disk;
mod endpoint;
mod faults;
mod judge;
mod process;
mod server;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use dice::Dice;
use judge::Kind;
use process::{HttpAnswer, Node, Shared, TENANTS};
use server::Server;

use crate::machine::within;

/// The number of seeds in a run of the tests.
const SEEDS: u64 = 1_500;

/// Maximum time until everything is done, once faults have ended.
const DRAIN: Duration = Duration::from_hours(12);

/// A batch that was answered with success.
#[derive(Clone, Debug)]
struct Accepted {
    id: String,
    /// The machine that answered.
    node: usize,
    tenant: usize,
    records: Vec<String>,
    /// Whether it was stored in the stream.
    is_stored: bool,
}

/// A world of machines and clients.
struct World {
    seed: u64,
    dice: Dice,
    shared: Arc<Shared>,
    nodes: Vec<Arc<Node>>,
    accepted: Mutex<Vec<Accepted>>,
    /// How often each record was in a batch that no machine took, or that another machine took at last.
    refused: Mutex<BTreeMap<String, u64>>,
    /// Versions that pass their checks, with the time at which each was published, by rule.
    good: Mutex<BTreeMap<(usize, String, u64), Instant>>,
    /// The packages on each machine before the server lost its data.
    before_wipe: Mutex<Vec<Vec<PathBuf>>>,
    /// Whether clients lose answers.
    loses_answers: bool,
    faults: AtomicU64,
}

/// What a seed came to.
#[derive(Default)]
struct Sum {
    faults: u64,
    accepted: u64,
    refused: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let dice = Dice::new(seed);
        let ack_wait = Duration::from_secs(30);
        let server = seed.is_multiple_of(2).then(|| Server::new(dice.clone(), ack_wait));
        let shared = Arc::new(Shared {
            dice: dice.clone(),
            began: Instant::now(),
            server,
            ack_wait,
            give_up: if dice.once_in(4) { Duration::from_mins(5) } else { Duration::from_hours(24) },
            spool: if dice.once_in(3) { 2 << 10 } else { 1 << 20 },
        });
        let nodes = (0..=dice.index(3)).map(|n| Arc::new(Node::new(&format!("node{n}"), &shared))).collect();
        Self {
            seed,
            loses_answers: !dice.once_in(3),
            dice,
            shared,
            nodes,
            accepted: Mutex::default(),
            refused: Mutex::default(),
            before_wipe: Mutex::default(),
            good: Mutex::default(),
            faults: AtomicU64::new(0),
        }
    }

    /// Publishes a package. A version of 1 is there from the beginning.
    fn publish(&self, tenant: usize, rule: &str, version: u64, is_good: bool) {
        let (file, content): (String, &[u8]) =
            (format!("{rule}@{version}.wasm"), if is_good { b"good" } else { b"bad" });
        if let Some(server) = &self.shared.server {
            server.publish_package(&format!("{}/{file}", TENANTS[tenant]), content);
        } else {
            let folder = &Node::folders()[tenant];
            self.nodes.iter().for_each(|node| node.platter.put(&folder.join(&file), content));
        }
        if is_good {
            let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
            good.entry((tenant, rule.to_owned(), version)).or_insert_with(Instant::now);
        }
    }

    /// Sends batches as a client does that tries each several times.
    async fn send(self: Arc<Self>, client: usize, batches: usize) -> (u64, u64) {
        let name: Arc<str> = ["a", "b"][client % 2].into();
        let tenant = self.dice.index(TENANTS.len());
        let (mut accepted, mut refused) = (0, 0);
        let mut before: Vec<String> = Vec::new();
        for batch in 0..batches {
            sleep(self.dice.up_to(Duration::from_secs(6))).await;
            let records = self.records(client, batch, &mut before);
            // Some are too large for a message of the stream.
            let filler = if self.dice.once_in(8) { " #".repeat(2_500) } else { String::new() };
            let body = Bytes::from(records.join(" ") + &filler);
            let delivered = self.deliver(&name, tenant, &body, &records).await;
            if delivered.is_none() || self.nodes.len() > 1 {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                for record in &records {
                    *refused.entry(record.clone()).or_default() += if delivered.is_none() { 1 } else { 7 };
                }
            }
            match delivered {
                Some(batch) => {
                    accepted += 1;
                    self.accepted.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
                }
                None => refused += 1,
            }
        }
        (accepted, refused)
    }

    /// Returns the records of a batch: some were sent before.
    fn records(&self, client: usize, batch: usize, before: &mut Vec<String>) -> Vec<String> {
        let dice = &self.dice;
        let kind = |n: u64| match n {
            0..55 => Kind::Quiet,
            55..85 => Kind::Alerts,
            85..90 => Kind::Refused,
            _ => Kind::Broken,
        };
        if dice.once_in(60) {
            let kind = if dice.once_in(2) { Kind::Deadly } else { Kind::Huge };
            return vec![format!("{}-{client}-{batch}", kind.as_str())];
        }
        if dice.once_in(8) {
            return vec![format!("{}-{client}-{batch}", Kind::Large.as_str())];
        }
        let records: Vec<String> = (0..=dice.below(5))
            .map(|n| match before.len() {
                0 => format!("quiet-{client}-{batch}-{n}"),
                known if dice.once_in(10) => before[dice.index(known)].clone(),
                _ => format!("{}-{client}-{batch}-{n}", kind(dice.below(100)).as_str()),
            })
            .collect();
        before.extend(records.iter().cloned());
        records
    }

    /// Sends a batch until it is accepted, or until the client gives up.
    async fn deliver(&self, client: &Arc<str>, tenant: usize, body: &Bytes, records: &[String]) -> Option<Accepted> {
        for attempt in 0..8 {
            sleep(Duration::from_millis(500 << attempt).mul_f64(f64::from(u32::from(attempt > 0)))).await;
            let node = self.dice.index(self.nodes.len());
            let Some(process) = self.nodes[node].process() else { continue };
            let answer = within(Duration::from_mins(2), process.post(client, tenant, body.clone())).await.flatten();
            match answer {
                Some(HttpAnswer::Receipt(_)) if self.loses_answers && self.dice.once_in(10) => {
                    self.faults.fetch_add(1, Ordering::Relaxed);
                }
                Some(HttpAnswer::Receipt(receipt)) => {
                    assert_eq!(receipt["records"], records.len(), "seed {}: {receipt}", self.seed);
                    return Some(Accepted {
                        id: receipt["batch"].as_str().expect("an id").to_owned(),
                        node,
                        tenant,
                        records: records.to_vec(),
                        is_stored: receipt["stored"] == true,
                    });
                }
                Some(HttpAnswer::TooLarge) => {
                    let is_huge = records.iter().any(|record| Kind::of(record) == Kind::Huge);
                    assert!(is_huge, "seed {}: {records:?} is told never to come back", self.seed);
                    return None;
                }
                Some(HttpAnswer::Busy) | None => {}
            }
        }
        None
    }

    /// Ends all faults and waits until everything that was accepted is done.
    async fn drain(&self) {
        self.end_faults();
        let began = Instant::now();
        loop {
            for node in &self.nodes {
                let is_over = |process: Arc<process::Process>| process.is_dead() || process.is_stopping();
                if node.process().is_none_or(is_over) {
                    node.kill();
                    node.start().await;
                }
            }
            sleep(Duration::from_secs(5)).await;
            let open = self.open_work();
            if open.is_empty() {
                return;
            }
            assert!(began.elapsed() < DRAIN, "seed {}: stuck: {}", self.seed, open.join(", "));
        }
    }

    /// Returns what is still to be done.
    fn open_work(&self) -> Vec<String> {
        let mut open = Vec::new();
        if let Some(server) = &self.shared.server {
            open.extend(server.waiting().into_iter().map(|batch| format!("batch {batch} in the stream")));
        }
        for node in &self.nodes {
            let name = &node.name;
            let Some(process) = node.process() else {
                open.push(format!("{name} is down"));
                continue;
            };
            let waiting: u64 = process.ingest.sinks.states().iter().map(|sink| sink.waiting).sum();
            if waiting > 0 {
                open.push(format!("{waiting} bytes in a spool of {name}"));
            }
            if !process.ingest.in_flight.is_empty() || process.ingest.budget.used() > 0 {
                let used = process.ingest.budget.used();
                open.push(format!("{} batches and {used} bytes in flight on {name}", process.ingest.in_flight.len()));
            }
            open.extend(process.ingest.not_ready().into_iter().map(|reason| format!("{name}: {reason}")));
        }
        open
    }
}

/// Runs the world of a seed with random faults.
fn run(seed: u64) -> Sum {
    run_with(seed, faults::inject, false)
}

/// Runs the world of a seed with these faults. They end by themselves, or with the last batch that is sent.
fn run_with<F: Future<Output = ()> + Send + 'static>(
    seed: u64,
    faults: impl FnOnce(Arc<World>) -> F,
    they_end: bool,
) -> Sum {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let world = Arc::new(World::new(seed));
        for tenant in 0..TENANTS.len() {
            world.publish(tenant, "first", 1, true);
            world.publish(tenant, "second", 1, true);
        }
        for node in &world.nodes {
            node.start().await;
        }
        let clients: Vec<_> =
            (0..3).map(|client| tokio::spawn(Arc::clone(&world).send(client, 8 + world.dice.index(12)))).collect();
        let faults = tokio::spawn(faults(Arc::clone(&world)));
        let mut sum = Sum::default();
        for client in clients {
            let (accepted, refused) = client.await.expect("the client does not panic");
            sum.accepted += accepted;
            sum.refused += refused;
        }
        if !they_end {
            faults.abort();
        }
        let _ = faults.await;
        world.drain().await;
        check::check(&world);
        sum.faults = world.all_faults();
        sum
    })
}

/// Runs these seeds on all cores.
fn run_all(seeds: std::ops::Range<u64>) -> Sum {
    let (next, sum) = (AtomicU64::new(seeds.start), Mutex::new(Sum::default()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let one = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|panic| {
                        eprintln!("see it again with PORTCULLIS_SEED={seed}");
                        std::panic::resume_unwind(panic)
                    });
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    sum.faults += one.faults;
                    sum.accepted += one.accepted;
                    sum.refused += one.refused;
                }
            });
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the number in an environment variable.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: expected a number")))
}

#[test]
fn nothing_accepted_is_lost_doubled_or_stuck_whatever_fails() {
    let seeds = match number("PORTCULLIS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PORTCULLIS_SEEDS").unwrap_or(SEEDS),
    };
    let count = seeds.end - seeds.start;
    let Sum { faults, accepted, refused } = run_all(seeds);
    println!("{count} seeds: {faults} faults, {accepted} batches accepted, {refused} given up by their clients");
    assert!(accepted > refused, "most batches are accepted");
}

#[test]
fn an_outage_of_an_hour_loses_and_buries_nothing() {
    // With a stream. Without one, clients give up while nothing can be stored.
    for seed in (0..40).step_by(2) {
        let Sum { accepted, refused, .. } = run_with(seed, faults::outage, true);
        assert!(accepted > 0 && refused < 5, "seed {seed}: {accepted} accepted, {refused} given up");
    }
}
