//! Machines, and the processes of the service that run and die on them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use portcullis::activation::PublishedFolder;
use portcullis::report::Notifier;
use serde_json::Value;
use tokio::sync::{RwLock, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::dice::Dice;
use super::disk::{Platter, ProcessDisk};
use super::endpoint::SimEndpoint;
use super::judge::{ActiveRules, ModelJudge, activate};
use super::server::Server;
use crate::ingest::{ClientBatch, Ingest, NotTaken, Opening, OverBudget, RecordLogs, Refused};
use crate::jetstream::JetStream;
use crate::machine::{Disk, Machine, within};
use crate::registry::Fleet;
use crate::settings::{
    ClientSettings, Credential, JetStreamSettings, Role, Settings, SinkKind, SinkSettings, WebhookSettings,
};
use crate::sinks::Sinks;
use crate::stats::Stats;
use crate::work::Worker;

/// The tenants.
pub(super) const TENANTS: [&str; 2] = ["acme", "globex"];

/// The memory budget, so small that batches wait for it.
const IN_FLIGHT: u64 = 64 << 10;

/// Maximum number of bytes of a batch.
const MAX_BODY: u64 = 16 << 10;

/// The machine as a process sees it.
struct SimMachine {
    disk: ProcessDisk,
    dice: Dice,
    /// The time at which the simulation began.
    began: Instant,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Machine for SimMachine {
    fn disk(&self) -> &dyn Disk {
        &self.disk
    }

    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.began.elapsed()).expect("a short time");
        Timestamp::from_second(1_767_225_600).expect("2026") + elapsed
    }

    fn random_share(&self) -> f64 {
        self.dice.share()
    }

    fn spawn_thread(&self, _: &str, run: BoxFuture<'static, ()>) -> io::Result<()> {
        self.spawn_task(run);
        Ok(())
    }

    fn spawn_task(&self, run: BoxFuture<'static, ()>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(run).abort_handle());
    }
}

/// What is the same in all processes of a simulation.
pub(super) struct Shared {
    pub(super) dice: Dice,
    pub(super) began: Instant,
    /// The server, if batches go through a stream.
    pub(super) server: Option<Server>,
    pub(super) ack_wait: Duration,
    pub(super) give_up: Duration,
    /// Maximum number of bytes that wait for the endpoint.
    pub(super) spool: u64,
}

/// A machine, with the process on it.
pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) platter: Platter,
    pub(super) endpoint: SimEndpoint,
    shared: Arc<Shared>,
    process: Mutex<Option<Arc<Process>>>,
    /// Records of the batches that each process answered with success, and the records that it counted.
    counts: Mutex<Vec<(u64, u64)>>,
    /// The number of processes that ended.
    pub(super) deaths: AtomicU64,
}

/// A process of the service.
pub(super) struct Process {
    machine: Arc<SimMachine>,
    pub(super) ingest: Arc<Ingest>,
    stats: Arc<Stats>,
    platter: Platter,
    /// Records of batches that it answered with success.
    answered: AtomicU64,
}

/// The answer to a client.
#[derive(Debug)]
pub(super) enum HttpAnswer {
    Receipt(Value),
    /// The client can send it again.
    Busy,
    /// The batch is too large for ever.
    TooLarge,
}

impl Node {
    pub(super) fn new(name: &str, shared: &Arc<Shared>) -> Self {
        Self {
            name: name.into(),
            platter: Platter::new(shared.dice.clone()),
            endpoint: SimEndpoint::new(shared.dice.clone()),
            shared: Arc::clone(shared),
            process: Mutex::default(),
            counts: Mutex::default(),
            deaths: AtomicU64::new(0),
        }
    }

    pub(super) fn process(&self) -> Option<Arc<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the packages on the disk.
    pub(super) fn packages(&self) -> Vec<PathBuf> {
        Self::folders().iter().flat_map(|folder| self.platter.names(folder)).collect()
    }

    /// Returns the folder of a tenant's packages.
    pub(super) fn folders() -> Vec<PathBuf> {
        TENANTS.iter().map(|tenant| PublishedFolder("/data/published".into()).packages(tenant)).collect()
    }

    /// Starts a process, unless the disk does not let it.
    pub(super) async fn start(&self) {
        let disk = self.platter.start();
        let machine = Arc::new(SimMachine {
            disk,
            dice: self.shared.dice.clone(),
            began: self.shared.began,
            tasks: Mutex::default(),
        });
        match self.open(&machine).await {
            Ok(process) => {
                *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(process));
            }
            Err(_) => end(&machine),
        }
    }

    async fn open(&self, machine: &Arc<SimMachine>) -> anyhow::Result<Process> {
        let shared = &self.shared;
        let names: Arc<[Arc<str>]> = TENANTS.iter().map(|name| Arc::from(*name)).collect();
        let stats = Arc::new(Stats::new(Arc::clone(&names)));
        let rules: ActiveRules = Arc::new(Mutex::new(vec![BTreeMap::new(); TENANTS.len()]));
        let folders = Self::folders();
        activate(&**machine, &folders, &rules).await;
        let settings = settings(shared);
        let is_dead = {
            let platter = self.platter.clone();
            Arc::new(move || platter.is_dead())
        };
        let jetstream = shared.server.as_ref().zip(settings.jetstream.clone()).map(|(server, settings)| {
            Arc::new(JetStream { broker: Arc::new(Connection::new(server.clone(), is_dead)), settings })
        });
        let sim: Arc<dyn Machine> = Arc::clone(machine) as Arc<dyn Machine>;
        let logs = RecordLogs::open(&sim, &settings)?;
        let endpoint = |_: &WebhookSettings| -> anyhow::Result<Box<dyn crate::sinks::webhook::Endpoint>> {
            Ok(Box::new(self.endpoint.clone()))
        };
        let (sinks, data) = (&settings.sinks, &settings.data);
        let sinks = Sinks::open(&sim, sinks, data, &names, &logs.dead_letters, jetstream.as_ref(), &endpoint)?;
        let judge = ModelJudge { dice: shared.dice.clone(), platter: self.platter.clone(), rules: Arc::clone(&rules) };
        let ingest = Arc::new(Ingest::new(
            &settings,
            Opening {
                machine: Arc::clone(&sim),
                judges: Box::new(judge),
                sinks,
                logs,
                notifier: Notifier::new(names.to_vec(), true, vec![None; TENANTS.len()]),
                stats: Arc::clone(&stats),
                jetstream: jetstream.clone(),
                replica: Arc::clone(&self.name),
                stopping: CancellationToken::new(),
            },
        ));
        let (following, of) = (Arc::clone(&sim), Arc::clone(&rules));
        sim.spawn_task(
            async move {
                loop {
                    sleep(Duration::from_secs(1)).await;
                    activate(&*following, &Self::folders(), &of).await;
                }
            }
            .boxed(),
        );
        if let Some(jetstream) = jetstream {
            let worker = Arc::new(Worker {
                machine: Arc::clone(&sim),
                ingest: Arc::clone(&ingest),
                jetstream: Arc::clone(&jetstream),
                replica: Arc::clone(&self.name),
                at_once: 4,
                alone: RwLock::default(),
            });
            sim.spawn_task(Arc::clone(&worker).work().boxed());
            sim.spawn_task(worker.watch_orphans().boxed());
            let settling = Arc::clone(&sim);
            let fleet = Fleet {
                machine: Arc::clone(&sim),
                jetstream,
                ingest: Arc::clone(&ingest),
                failures: AtomicU32::default(),
                published: PublishedFolder("/data/published".into()),
                replica: Arc::clone(&self.name),
                settle: Box::new(move || {
                    let (machine, rules) = (Arc::clone(&settling), Arc::clone(&rules));
                    async move { activate(&*machine, &Self::folders(), &rules).await }.boxed()
                }),
            };
            sim.spawn_task(fleet.follow().boxed());
        }
        let platter = self.platter.clone();
        Ok(Process { machine: Arc::clone(machine), ingest, stats, platter, answered: AtomicU64::new(0) })
    }

    /// Kills the process.
    pub(super) fn kill(&self) {
        self.platter.crash();
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(process) = process {
            self.deaths.fetch_add(1, Ordering::Relaxed);
            self.note(&process);
            end(&process.machine);
        }
    }

    /// Ends the process as a termination signal does.
    pub(super) async fn terminate(&self) {
        let Some(process) = self.process() else { return };
        process.ingest.stopping.cancel();
        process.ingest.in_flight.close();
        within(Duration::from_secs(30), process.ingest.in_flight.wait()).await;
        process.ingest.sinks.close();
        sleep(Duration::from_millis(100)).await;
        self.deaths.fetch_add(1, Ordering::Relaxed);
        self.note(&process);
        self.platter.crash();
        end(&process.machine);
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn note(&self, process: &Process) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.push((process.answered.load(Ordering::Relaxed), process.counted()));
    }

    /// Returns, for each process that there was, the records that it answered with success and those that it counted.
    pub(super) fn counts(&self) -> Vec<(u64, u64)> {
        if let Some(process) = self.process() {
            self.note(&process);
        }
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Ends all tasks of a process.
fn end(machine: &SimMachine) {
    machine.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(|task| task.abort());
}

impl Process {
    pub(super) fn is_dead(&self) -> bool {
        self.platter.is_dead()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.ingest.stopping.is_cancelled()
    }

    /// Returns the number of records in its stats.
    pub(super) fn counted(&self) -> u64 {
        self.stats.lock().tenants.iter().map(|tenant| tenant.account.read()).sum()
    }

    /// Handles a request, as `http::records` does. Returns `None` if the process dies meanwhile.
    pub(super) async fn post(self: &Arc<Self>, client: &Arc<str>, tenant: usize, body: Bytes) -> Option<HttpAnswer> {
        let (sender, answer) = oneshot::channel();
        let (process, client) = (Arc::clone(self), Arc::clone(client));
        let handle = async move {
            let answer = process.answer(client, tenant, body).await;
            if !process.is_dead() {
                let _ = sender.send(answer);
            }
        };
        self.machine.spawn_task(handle.boxed());
        answer.await.ok()
    }

    async fn answer(&self, client: Arc<str>, tenant: usize, body: Bytes) -> HttpAnswer {
        let ingest = &self.ingest;
        if ingest.stopping.is_cancelled() {
            return HttpAnswer::Busy;
        }
        let mut permit = ingest.budget.permit(&client);
        match permit.grow(body.len() as u64) {
            Ok(()) => {}
            Err(OverBudget::Now(_)) => return HttpAnswer::Busy,
            Err(OverBudget::Always(_)) => return HttpAnswer::TooLarge,
        }
        match ingest.take(ClientBatch { client, tenant: Some(tenant), body, permit }).await {
            Ok(receipt) => {
                if receipt["stored"].is_null() && !self.is_dead() {
                    self.answered.fetch_add(receipt["records"].as_u64().unwrap_or(0), Ordering::Relaxed);
                }
                HttpAnswer::Receipt(receipt)
            }
            Err(NotTaken::OverBudget(OverBudget::Always(_)) | NotTaken::Refused(Refused::TooLarge(_))) => {
                HttpAnswer::TooLarge
            }
            Err(_) => HttpAnswer::Busy,
        }
    }
}

fn settings(shared: &Shared) -> Settings {
    let webhook = WebhookSettings {
        url: "http://endpoint".to_owned(),
        authorization_file: None,
        ca: None,
        spool: shared.spool,
        alerts_per_request: 5,
        give_up: shared.give_up,
    };
    let sink = |name: &str, kind| SinkSettings { name: name.to_owned(), ocsf: false, kind };
    let mut sinks = vec![sink("file", SinkKind::File("/data/alerts".into())), sink("hook", SinkKind::Webhook(webhook))];
    let jetstream = shared.server.is_some().then(|| JetStreamSettings {
        url: "nats://server".to_owned(),
        credentials_file: None,
        token_file: None,
        ca: None,
        prefix: "portcullis".to_owned(),
        ingest: true,
        work: true,
        rules: true,
        ack_wait: shared.ack_wait,
        attempts: 10,
        max_bytes: 1 << 30,
        replicas: 1,
    });
    if jetstream.is_some() {
        sinks.push(sink("stream", SinkKind::JetStream));
    }
    let client = |name: &str| ClientSettings {
        name: name.to_owned(),
        tenant: None,
        roles: vec![Role::Ingest],
        credential: Credential::TokenFile(PathBuf::new()),
    };
    Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        data: Path::new("/data").into(),
        tls: None,
        max_body: MAX_BODY,
        in_flight: IN_FLIGHT,
        connections: 100,
        timeout: Duration::from_secs(30),
        drain: Duration::from_secs(30),
        ledger: Some("/data/ledger".into()),
        clients: vec![client("a"), client("b")],
        sinks,
        jetstream,
    }
}
