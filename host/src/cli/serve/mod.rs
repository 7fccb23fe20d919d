//! `portcullis serve`: records in over HTTP, alerts out to sinks, for as long as it is let.
//!
//! A delivery is what one request brings. It goes from `records`, which reads it in bounded room, to the `judges`, then its
//! alerts to the `sinks`, what was wrong in it to the dead letters and a line for each record to the ledger; only when all of
//! that is on the disk is it answered with 200 and counted. Sinks take an alert once, so that a delivery that was judged and
//! not answered can be brought again.

mod clients;
mod figures;
mod jetstream;
mod journal;
mod judges;
mod line_file;
mod listener;
mod live;
mod logs;
mod metrics;
mod publishing;
mod reading;
mod recent;
mod records;
mod ring;
mod room;
mod routes;
mod signals;
mod sinks;

use std::fs::{self, File, TryLockError};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use portcullis::activation::{Control, Listed, News};
use portcullis::config::{self, Config};
use portcullis::{Engine, Exchange, RuleSet};
use tokio::sync::watch;

use super::activation::Start;
use super::failure::{Exit, Failure, OrExit, say_to_the_log};
use super::progress::Progress;
use super::setup::{Published, Setup, SetupArgs};
use super::telling::Teller;
use super::worker::threads;
use clients::Clients;
use figures::Figures;
use jetstream::JetStream;
use journal::Journal;
use judges::{Judges, Manner};
use publishing::Publishing;
use room::Room;
use sinks::Sinks;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    setup: SetupArgs,
    /// How many threads judge records [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// How the log on standard error is written [default: text on a terminal, else json]. PORTCULLIS_LOG says how much of it:
    /// warn, info (the default), debug
    #[arg(long, value_enum)]
    log: Option<logs::Format>,
}

/// A service at work.
struct Service {
    config: config::Serve,
    /// This process among its like.
    replica: String,
    started: Instant,
    /// In milliseconds since 1970, which tells its deliveries from those of the process before it.
    started_at: i64,
    clients: RwLock<Arc<Clients>>,
    judges: Judges,
    sinks: Sinks,
    /// What cannot be judged, or not be given to a sink.
    dead_letters: Journal,
    ledger: Option<Journal>,
    figures: Figures,
    room: Room,
    teller: Mutex<Teller>,
    /// By tenant.
    exchanges: Vec<Arc<Exchange<RuleSet>>>,
    /// What carries deliveries and alerts from machine to machine.
    jetstream: Option<Arc<JetStream>>,
    /// Where packages go that are brought.
    publishing: Publishing,
    /// What follows rules out of files, where they are.
    control: Option<Control>,
    /// Whether it ends.
    ends: watch::Sender<bool>,
    /// Deliveries that have been read and are not answered yet.
    in_hand: AtomicUsize,
    /// Who looks.
    viewers: AtomicUsize,
    /// The number of the next delivery.
    next: AtomicU64,
}

/// What outlives the process and has no name in the config, in its folder `data`.
const DEAD_LETTERS: &str = "dead-letters.ndjson";
const HISTORY: &str = "history.ndjson";

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let file = args.setup.config.as_deref().ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            anyhow!("serve needs --config FILE, with a table [serve] in it; deploy/ has examples"),
        )
    })?;
    let read = Config::read(file).or_exit(Exit::Setup)?;
    let config = read.serve().or_exit(Exit::Setup)?.ok_or_else(|| {
        let error = anyhow!("{}: has no table [serve]; the least is: [serve], data = \"FOLDER\"", file.display());
        Failure::new(Exit::Setup, error)
    })?;
    fs::create_dir_all(&config.data)
        .with_context(|| format!("{}: cannot be made", config.data.display()))
        .or_exit(Exit::Io)?;
    let _lock = lock(&config.data).or_exit(Exit::Setup)?;
    logs::begin(args.log);
    say_to_the_log();
    let history = config.data.join(HISTORY);
    let shares_rules = config.jetstream.as_ref().is_some_and(|jetstream| jetstream.rules);
    let published = Published { folder: config.data.clone(), rules: shares_rules };
    let args = Args { setup: args.setup.clone().with_published(published), ..*args };
    let setup = args.setup.load_with(Some(&read), &Start::Run { watch: true, history: Some(&history) })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the threads that serve")
        .or_exit(Exit::Io)?;
    let replica = replica();
    let connect = |settings| runtime.block_on(JetStream::connect(settings, &replica));
    let jetstream = config.jetstream.as_ref().map(connect).transpose().or_exit(Exit::Setup)?;
    let threads = threads(args.threads);
    let service = Service::open(config, setup, jetstream, replica, threads, &args.setup)?;
    runtime.block_on(service.serve(file, threads))
}

/// Keeps the folder of a service's data from another process, which would write into the same files.
fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("{}: cannot be written", path.display()))?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            anyhow!(
                "data: {}: another service is at work in it; each replica needs a folder of its own",
                data.display()
            )
        }
        TryLockError::Error(error) => anyhow!("{}: cannot be locked: {error}", path.display()),
    })?;
    Ok(file)
}

/// A delivery that is in hand, for as long as this is there.
struct InHand<'s>(&'s AtomicUsize);

impl<'s> InHand<'s> {
    fn new(count: &'s AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service {
    fn open(
        config: config::Serve,
        setup: Setup,
        jetstream: Option<Arc<JetStream>>,
        replica: String,
        threads: NonZeroUsize,
        args: &SetupArgs,
    ) -> Result<Arc<Self>, Failure> {
        let tenants = setup.tenants();
        let several = tenants.nobodys().is_some();
        let names: Vec<Arc<str>> = tenants.all().iter().map(|(judge, _)| judge.tenant().into()).collect();
        let exchanges = setup.exchanges();
        let clients = Clients::load(&config.clients, &names).or_exit(Exit::Setup)?;
        let open = |path: &Path| {
            Journal::open(path).with_context(|| format!("{}: cannot be opened", path.display())).or_exit(Exit::Io)
        };
        let dead_letters = open(&config.data.join(DEAD_LETTERS))?;
        let ledger = config.ledger.as_deref().map(open).transpose()?;
        let sinks = Sinks::open(&config.sinks, &config.data, &dead_letters, jetstream.as_ref()).or_exit(Exit::Io)?;
        let manner = Manner { max_body: config.max_body, ledger: ledger.is_some(), ocsf: sinks.want_ocsf() };
        let judges = Judges::start(tenants, &exchanges, threads, manner).or_exit(Exit::Io)?;
        let figures = Figures::new(names.clone());
        let publishing = Publishing {
            folders: setup.folders(),
            published: args.published.clone().expect("a service has it"),
            engine: Engine::new().or_exit(Exit::Setup)?,
        };
        let followed = setup.followed();
        let embedded: Vec<Vec<Listed>> = setup.listed().map(|(_, listed)| listed).collect();
        figures.list(embedded.clone());
        let mut teller = Teller::new(names, several, followed.clone());
        let service = Arc::new_cyclic(|service: &std::sync::Weak<Self>| {
            let service = service.clone();
            setup.heard_by(Box::new(move |news| {
                if let (Some(service), News::Entry(entry)) = (service.upgrade(), news) {
                    service.figures.hear(entry);
                }
            }));
            let control = setup.follow(args, true, &Arc::new(Progress::new(&[], true)));
            let control = control.unwrap_or_else(|failure| std::process::exit(failure.report_and_code()));
            teller.control.clone_from(&control);
            Self {
                replica,
                started: Instant::now(),
                started_at: Timestamp::now().as_millisecond(),
                clients: RwLock::new(Arc::new(clients)),
                judges,
                sinks,
                dead_letters,
                ledger,
                figures,
                room: Room::new(config.in_hand, config.max_body, config.clients.len()),
                teller: Mutex::new(teller),
                exchanges,
                jetstream,
                publishing,
                control,
                ends: watch::Sender::new(false),
                in_hand: AtomicUsize::new(0),
                viewers: AtomicUsize::new(0),
                next: AtomicU64::new(0),
                config,
            }
        });
        service.keep_list(followed, embedded);
        Ok(service)
    }

    /// Keeps up to date what there is of rules, on a thread that may wait for it.
    fn keep_list(self: &Arc<Self>, followed: Vec<Option<usize>>, embedded: Vec<Vec<Listed>>) {
        let Some(control) = self.control.clone() else { return };
        let service = Arc::downgrade(self);
        std::thread::spawn(move || {
            while let Some(lists) = control.list() {
                let Some(service) = service.upgrade() else { return };
                let of = |(number, own): (&Option<usize>, &Vec<Listed>)| match number {
                    Some(number) => lists[*number].clone(),
                    None => own.clone(),
                };
                service.figures.list(followed.iter().zip(&embedded).map(of).collect());
                drop(service);
                std::thread::sleep(Duration::from_secs(1));
            }
        });
    }

    fn clients(&self) -> Arc<Clients> {
        Arc::clone(&self.clients.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why it takes no records now.
    fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if *self.ends.borrow() {
            reasons.push("it ends".to_owned());
        }
        for (name, exchange) in self.figures.names.iter().zip(&self.exchanges) {
            if exchange.newer(&mut 0).is_none_or(|rules| rules.packages().is_empty()) {
                reasons.push(format!("tenant {name} has no active rule"));
            }
        }
        let of_sink = |sink: sinks::SinkState| {
            (!sink.takes).then(|| format!("sink {}: {}", sink.name, sink.reason.unwrap_or_default()))
        };
        reasons.extend(self.sinks.states().into_iter().filter_map(of_sink));
        let wrong = self.jetstream.as_ref().and_then(|jetstream| jetstream.wrong());
        reasons.extend(wrong.map(|wrong| format!("jetstream: {wrong}")));
        let journals = [("dead letters", Some(&self.dead_letters)), ("ledger", self.ledger.as_ref())];
        reasons
            .extend(journals.into_iter().filter_map(|(name, journal)| Some(format!("{name}: {}", journal?.wrong()?))));
        reasons
    }
}

/// The machine's name, which in Kubernetes is the pod's, and the process there.
fn replica() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", name.trim(), std::process::id())
}
