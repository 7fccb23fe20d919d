//! Starts, runs and stops the service.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use portcullis::activation::{Control, ListedPackage, PublishedFolder};
use portcullis::report::Notifier;
use portcullis::rule_set::RuleSetCell;
use portcullis::{Engine, PackageLimits, Tenants};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::RwLock as AsyncRwLock;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::clients::Clients;
use crate::error::ServeError;
use crate::http::{self, Security, open_files};
use crate::ingest::{Ingest, Opening, RecordLogs, start_judges};
use crate::jetstream::{JetStream, Nats};
use crate::machine::{Machine, RealMachine, blocking};
use crate::observed::{Metrics, Observed};
use crate::registry::{Changes, Fleet, ReadPolicy, Registry, Settle};
use crate::settings::{JetStreamSettings, Settings};
use crate::sinks::{Sinks, http_endpoint};
use crate::stats::Stats;
use crate::work::Worker;

/// Reads the settings again.
pub type ReadSettings = Box<dyn Fn() -> anyhow::Result<Settings> + Send + Sync>;

/// The parts of a service in addition to its settings.
pub struct Parts {
    /// The judges of the tenants. Each thread gets a fork of them.
    pub tenants: Tenants,
    /// The cell of each tenant's rule set.
    pub cells: Vec<Arc<RuleSetCell>>,
    /// Each tenant's number at the control, if its rules come from files.
    pub followed: Vec<Option<usize>>,
    /// The list of each tenant's rules, if they do not come from files.
    pub listed: Vec<Vec<ListedPackage>>,
    /// The folder of packages that each tenant follows, if it follows one, and the limits of its packages.
    pub folders: Vec<(Option<PathBuf>, PackageLimits)>,
    /// The folder of published packages and chosen versions.
    pub published: PublishedFolder,
    /// The control that follows rules from files, if any do.
    pub control: Option<Control>,
    /// The stats. The caller adds the entries of the history.
    pub stats: Arc<Stats>,
    /// The number of threads that judge.
    pub threads: NonZeroUsize,
    /// Applies a text in the form of `[activation]` to a policy.
    pub read_policy: ReadPolicy,
    /// Reads the settings again, on SIGHUP: clients and certificates may have changed.
    pub read_settings: ReadSettings,
}

/// A running service.
struct Service {
    machine: Arc<dyn Machine>,
    app: Arc<App>,
    control: Option<Control>,
    read_settings: ReadSettings,
}

/// The signals that a service listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// Runs a service until a termination signal.
///
/// # Errors
/// Its settings are wrong, or a file, socket or thread fails at the start.
pub fn run(settings: Settings, parts: Parts) -> Result<(), ServeError> {
    let runtime = runtime()?;
    let replica: Arc<str> = replica().into();
    let connect = |settings| runtime.block_on(connect(settings, &replica));
    let jetstream = settings.jetstream.as_ref().map(connect).transpose().map_err(ServeError::Setup)?;
    let served = runtime.block_on(async {
        let threads = parts.threads;
        let service = Service::open(settings, parts, jetstream, replica)?;
        service.serve(threads).await
    });
    // A check of a package may still run, which takes long and has no result that matters any more.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn connect(settings: &JetStreamSettings, replica: &str) -> anyhow::Result<Arc<JetStream>> {
    let broker = Nats::connect(settings, replica).await?;
    Ok(Arc::new(JetStream { broker, settings: settings.clone() }))
}

/// Returns a runtime of two threads, which only wait. Judging has its own threads.
fn runtime() -> Result<Runtime, ServeError> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("cannot start the threads of the service").map_err(ServeError::Io)
}

/// Returns the machine's name, which in Kubernetes is the pod's, and the process id.
fn replica() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", name.trim(), std::process::id())
}

impl Signals {
    fn listen() -> Result<Self, ServeError> {
        let listen = |kind| signal(kind).context("cannot listen for signals").map_err(ServeError::Io);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal that ends the service.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Service {
    fn open(
        settings: Settings,
        parts: Parts,
        jetstream: Option<Arc<JetStream>>,
        replica: Arc<str>,
    ) -> Result<Self, ServeError> {
        let Parts { tenants, cells, followed, listed, folders, published, control, stats, threads, .. } = parts;
        let names = Arc::clone(&stats.names);
        let clients = Clients::load(&settings.clients, &names).map_err(ServeError::Setup)?;
        let mut notifier = Notifier::new(names.to_vec(), tenants.unclaimed().is_some(), followed.clone());
        notifier.control.clone_from(&control);
        stats.set_rules(listed.clone());
        let machine: Arc<dyn Machine> = Arc::new(RealMachine::new());
        // The spools of many tenants are many files.
        open_files::raise_limit();
        let logs = RecordLogs::open(&machine, &settings)?;
        let sinks = Sinks::open(
            &machine,
            &settings.sinks,
            &settings.data,
            &names,
            &logs.dead_letters,
            jetstream.as_ref(),
            &http_endpoint,
        );
        let sinks = sinks.map_err(ServeError::Io)?;
        let judges = start_judges(&settings, &sinks, tenants, cells, threads)?;
        let ingest = Arc::new(Ingest::new(
            &settings,
            Opening {
                machine: Arc::clone(&machine),
                judges: Box::new(judges),
                sinks,
                logs,
                notifier,
                stats: Arc::clone(&stats),
                jetstream: jetstream.clone(),
                replica: Arc::clone(&replica),
                stopping: CancellationToken::new(),
            },
        ));
        let registry = Arc::new(Registry {
            tenants: names,
            folders,
            published,
            shares_rules: settings.jetstream.as_ref().is_some_and(|jetstream| jetstream.rules),
            jetstream,
            engine: Engine::new().map_err(|error| ServeError::Setup(error.into()))?,
            read_policy: parts.read_policy,
            changes: Changes::new(stats.names.len()),
        });
        if let Some(control) = control.clone() {
            keep_list(control, &stats, followed, listed);
        }
        let app = App {
            clients: RwLock::new(Arc::new(clients)),
            observed: Arc::new(Observed::new(Arc::clone(&ingest), Arc::clone(&stats), Arc::clone(&replica))),
            metrics: Metrics::new(Arc::clone(&stats), Arc::clone(&ingest)),
            settings,
            replica,
            ingest,
            registry,
            stats,
        };
        Ok(Self { machine, app: Arc::new(app), control, read_settings: parts.read_settings })
    }

    /// Serves until a termination signal.
    async fn serve(self, threads: NonZeroUsize) -> Result<(), ServeError> {
        let mut signals = Signals::listen()?;
        let security = Arc::new(Security::load(self.app.settings.tls.as_ref()).map_err(ServeError::Setup)?);
        let socket = TcpListener::bind(self.app.settings.listen).await;
        let socket = socket.with_context(|| format!("listen: {}", self.app.settings.listen)).map_err(ServeError::Io)?;
        let address = socket.local_addr().context("listen").map_err(ServeError::Io)?;
        let scheme = if self.app.settings.tls.is_some() { "https" } else { "http" };
        let (clients, tenants) = (self.app.settings.clients.len(), self.app.stats.names.len());
        tracing::info!(address = %address, clients, tenants, "serving on {scheme}://{address}");
        if clients == 0 {
            tracing::warn!("no client can send records or view the service: the config has no [[serve.clients]]");
        }
        for reason in self.app.ingest.not_ready() {
            tracing::info!("not ready: {reason}");
        }
        let stopping = self.app.ingest.stopping.clone();
        let router = http::router(Arc::clone(&self.app));
        let (app, shared) = (Arc::clone(&self.app), Arc::clone(&security));
        let until_stopped = stopping.clone();
        let serving = tokio::spawn(async move {
            http::serve(socket, shared, &app.settings, app.stats.names.len(), router, until_stopped).await;
        });
        let background = self.start_background(threads);
        loop {
            tokio::select! {
                _ = signals.hangup.recv() => self.reload(&security),
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
            }
        }
        tracing::info!("shutting down: new batches are refused, and those in flight are finished");
        stopping.cancel();
        let until = Instant::now() + self.app.settings.drain;
        let drained = async {
            let is_served = timeout_at(until, serving).await.is_ok();
            let _ = timeout_at(until, background.wait()).await;
            self.app.ingest.in_flight.close();
            let _ = timeout_at(until, self.app.ingest.in_flight.wait()).await;
            is_served
        };
        let ended = async {
            let is_served = drained.await;
            self.app.ingest.sinks.close();
            self.finish_history().await;
            is_served
        };
        let is_served = tokio::select! {
            is_served = ended => Some(is_served),
            () = signals.end() => {
                self.app.ingest.sinks.close();
                None
            }
        };
        self.log_end(is_served);
        Ok(())
    }

    /// Starts the worker of the stream and the fleet.
    fn start_background(&self, threads: NonZeroUsize) -> TaskTracker {
        let background = TaskTracker::new();
        if let Some(jetstream) = &self.app.ingest.jetstream {
            if jetstream.settings.work {
                // While some batches are written, others are judged.
                let at_once = 4 * threads.get();
                let worker = Arc::new(Worker {
                    machine: Arc::clone(&self.machine),
                    ingest: Arc::clone(&self.app.ingest),
                    jetstream: Arc::clone(jetstream),
                    replica: Arc::clone(&self.app.replica),
                    at_once,
                    alone: AsyncRwLock::default(),
                });
                background.spawn(Arc::clone(&worker).work());
                background.spawn(worker.watch_orphans());
            }
            let fleet = Fleet {
                machine: Arc::clone(&self.machine),
                jetstream: Arc::clone(jetstream),
                ingest: Arc::clone(&self.app.ingest),
                failures: AtomicU32::default(),
                published: self.app.registry.published.clone(),
                replica: Arc::clone(&self.app.replica),
                settle: settle(self.control.clone()),
            };
            // Its copying may block.
            let tracked = background.track_future(fleet.follow()).boxed();
            if let Err(error) = self.machine.spawn_thread("portcullis-fleet", tracked) {
                tracing::error!("the published rules cannot be followed: {error}");
            }
        }
        background.close();
        background
    }

    /// Reads versions, tokens and certificates again, and reopens files.
    fn reload(&self, security: &Security) {
        self.app.ingest.reopen();
        if let Some(control) = &self.control {
            control.reload();
        }
        let reload = || -> anyhow::Result<()> {
            let settings = (self.read_settings)()?;
            let clients = Clients::load(&settings.clients, &self.app.stats.names)?;
            security.reload(settings.tls.as_ref())?;
            self.app.set_clients(clients);
            Ok(())
        };
        match reload() {
            Ok(()) => tracing::info!("reloaded clients and certificates, and reopened files"),
            Err(error) => tracing::error!("reload failed: {error:#}; clients and certificates are unchanged"),
        }
    }

    /// Waits until the history has its last entries.
    async fn finish_history(&self) {
        if let Some(control) = self.control.clone()
            && let Ok(Err(unfinished)) = tokio::task::spawn_blocking(move || control.finish()).await
        {
            tracing::warn!("{unfinished}");
        }
    }

    /// Logs the account, and what the end has cut off. `is_served` is whether all connections were closed, or `None` if
    /// a second signal ended the service.
    fn log_end(&self, is_served: Option<bool>) {
        let left = self.app.ingest.in_flight.len();
        for line in self.app.stats.summary() {
            tracing::info!("{line}");
        }
        if is_served.is_none() {
            tracing::warn!("a second signal ended the service at once; the history may lack what happened last");
        }
        if left > 0 {
            tracing::warn!(batches = left, "stopped with batches in flight; their clients got no answer");
        } else if is_served == Some(false) {
            tracing::info!("stopped with open connections");
        }
    }
}

/// Returns what waits until the folders that a control follows have been read.
fn settle(control: Option<Control>) -> Settle {
    Box::new(move || {
        let control = control.clone();
        let follow = move || {
            if let Some(control) = control {
                control.follow_now();
            }
        };
        blocking(follow).map(drop).boxed()
    })
}

/// Keeps the list of rules up to date, on a thread that can block on the control.
fn keep_list(control: Control, stats: &Arc<Stats>, followed: Vec<Option<usize>>, listed: Vec<Vec<ListedPackage>>) {
    let stats = Arc::downgrade(stats);
    std::thread::spawn(move || {
        while let Some(lists) = control.list() {
            let Some(stats) = stats.upgrade() else { return };
            let of = |(number, own): (&Option<usize>, &Vec<ListedPackage>)| match number {
                Some(number) => lists[*number].clone(),
                None => own.clone(),
            };
            stats.set_rules(followed.iter().zip(&listed).map(of).collect());
            drop(stats);
            std::thread::sleep(Duration::from_secs(1));
        }
    });
}
