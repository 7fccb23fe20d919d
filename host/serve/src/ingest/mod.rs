//! Judges batches, stores their results and counts them.

mod budget;
mod judges;
mod reading;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use jiff::Timestamp;
use portcullis::report::{Level, Notification, Notifier, Outcomes};
use portcullis::rule_set::RuleSetCell;
use portcullis::{Accounting, Tenants};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::ServeError;
use crate::jetstream::{JetStream, header};
use crate::settings::Settings;
use crate::sinks::Sinks;
use crate::stats::Stats;
use crate::storage::{AppendLog, NotWritten};
use budget::MemoryBudget;
pub(crate) use budget::Permit;
pub(crate) use judges::Batch;
use judges::{Checked, JudgeOptions, JudgedBatch, Judges, Unchecked};
pub(crate) use reading::Refused;

/// The file of dead letters in the data folder.
const DEAD_LETTERS: &str = "dead-letters.ndjson";

/// The part of the service that judges batches and stores their results.
pub(crate) struct Ingest {
    /// The names of the tenants.
    pub(crate) tenants: Arc<[Arc<str>]>,
    /// The cell of each tenant's rule set.
    cells: Vec<Arc<RuleSetCell>>,
    judges: Judges,
    pub(crate) sinks: Sinks,
    /// The log of records that cannot be judged, and of alerts that a sink refuses for good.
    dead_letters: AppendLog,
    ledger: Option<AppendLog>,
    notifier: Mutex<Notifier>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) budget: MemoryBudget,
    pub(crate) jetstream: Option<Arc<JetStream>>,
    ids: BatchIds,
    /// The batches in flight: read and not yet answered.
    pub(crate) in_flight: TaskTracker,
    /// Cancelled when the service stops.
    pub(crate) stopping: CancellationToken,
}

/// The ids of the batches of one process.
struct BatchIds {
    replica: Arc<str>,
    /// The start of this process in milliseconds since 1970, which tells its ids from those of earlier processes.
    started_at: i64,
    next: AtomicU64,
}

/// A batch of a client, with its permit.
pub(crate) struct ClientBatch {
    pub(crate) client: Arc<str>,
    pub(crate) tenant: Option<usize>,
    pub(crate) body: Vec<u8>,
    pub(crate) permit: Permit,
}

/// The reason why a batch is not taken.
pub(crate) enum NotTaken {
    /// The batch is invalid, and will be refused again.
    Refused(Refused),
    /// Its results do not fit into the memory budget now.
    OverBudget,
    /// Its results cannot be stored now.
    NotKept(String),
    /// The batch cannot be stored in the stream now.
    NotStored(String),
}

/// The arguments of [`Ingest::open`] in addition to the settings.
pub(crate) struct Opening {
    pub(crate) tenants: Tenants,
    pub(crate) cells: Vec<Arc<RuleSetCell>>,
    pub(crate) notifier: Notifier,
    pub(crate) stats: Arc<Stats>,
    pub(crate) jetstream: Option<Arc<JetStream>>,
    pub(crate) replica: Arc<str>,
    pub(crate) threads: NonZeroUsize,
    pub(crate) stopping: CancellationToken,
}

impl Ingest {
    /// Opens the sinks and the logs, and starts the judges.
    pub(crate) fn open(settings: &Settings, opening: Opening) -> Result<Self, ServeError> {
        let Opening { tenants, cells, notifier, stats, jetstream, replica, threads, stopping } = opening;
        let names = Arc::clone(&stats.names);
        let open = |path: &std::path::Path| {
            let log = AppendLog::open(path).with_context(|| format!("{}: cannot be opened", path.display()));
            log.map_err(ServeError::Io)
        };
        let dead_letters = open(&settings.data.join(DEAD_LETTERS))?;
        let ledger = settings.ledger.as_deref().map(open).transpose()?;
        let sinks = Sinks::open(&settings.sinks, &settings.data, &names, &dead_letters, jetstream.as_ref());
        let sinks = sinks.map_err(ServeError::Io)?;
        let options = JudgeOptions { max_body: settings.max_body, ledger: ledger.is_some(), ocsf: sinks.want_ocsf() };
        let judges = Judges::start(tenants, &cells, threads, options);
        Ok(Self {
            judges: judges.map_err(|error| ServeError::Io(error.into()))?,
            budget: MemoryBudget::new(settings.in_flight, settings.max_body, settings.clients.len()),
            tenants: names,
            cells,
            sinks,
            dead_letters,
            ledger,
            notifier: Mutex::new(notifier),
            stats,
            jetstream,
            ids: BatchIds { replica, started_at: Timestamp::now().as_millisecond(), next: AtomicU64::new(0) },
            in_flight: TaskTracker::new(),
            stopping,
        })
    }

    /// Judges a batch, or stores it in the stream if the settings say so. On success it is safe. Returns the receipt
    /// for the client.
    pub(crate) async fn take(&self, batch: ClientBatch) -> Result<Value, NotTaken> {
        let _in_flight = self.in_flight.token();
        match &self.jetstream {
            Some(jetstream) if jetstream.settings.ingest => self.store(jetstream, batch).await,
            _ => {
                let ClientBatch { client, tenant, body, mut permit } = batch;
                let id = self.ids.next();
                self.judge_and_keep(Batch { body, tenant, client, id }, &mut permit).await
            }
        }
    }

    /// Judges a batch and stores its results. On success it is safe and counted.
    pub(crate) async fn judge_and_keep(&self, batch: Batch, permit: &mut Permit) -> Result<Value, NotTaken> {
        let id = batch.id.clone();
        let mut judged = self.judges.judge(batch).await.map_err(NotTaken::Refused)?;
        if !permit.grow(judged.size) {
            return Err(NotTaken::OverBudget);
        }
        self.keep(&mut judged).await.map_err(|NotWritten(why)| NotTaken::NotKept(why))?;
        let receipt = receipt(&id, &judged);
        self.notify(&judged);
        self.count(judged);
        Ok(receipt)
    }

    /// Stores a batch in the stream. On success the server has it on its disk.
    async fn store(&self, jetstream: &JetStream, batch: ClientBatch) -> Result<Value, NotTaken> {
        let ClientBatch { client, tenant, body, permit } = batch;
        let tenant = tenant.map(|tenant| Arc::clone(&self.tenants[tenant]));
        let batch = Unchecked { body, client: Arc::clone(&client), tenant: tenant.clone() };
        let Checked { id, outcomes, packed } = self.judges.check(batch).await.map_err(NotTaken::Refused)?;
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, &*id);
        headers.insert(header::BATCH, &*id);
        headers.insert(header::CLIENT, &*client);
        if let Some(tenant) = tenant {
            headers.insert(header::TENANT, &*tenant);
        }
        let stored = jetstream.store(&id, headers, packed).await;
        drop(permit);
        stored.map_err(|error| NotTaken::NotStored(error.to_string()))?;
        let mut receipt =
            json!({"batch": id, "records": outcomes.records, "suspect": outcomes.suspect, "stored": true});
        warn(&mut receipt, &outcomes);
        Ok(receipt)
    }

    /// Writes alerts to the sinks, faulty records to the dead letters and lines to the ledger, all at the same time.
    async fn keep(&self, judged: &mut JudgedBatch) -> Result<(), NotWritten> {
        let (dead_letters, ledger) = (std::mem::take(&mut judged.dead_letters), std::mem::take(&mut judged.ledger));
        let write = async {
            match &self.ledger {
                Some(log) => log.append(ledger).await,
                None => Ok(()),
            }
        };
        let put = self.sinks.put(&judged.alerts);
        let (alerts, dead_letters, ledger) = tokio::join!(put, self.dead_letters.append(dead_letters), write);
        alerts.and(dead_letters).and(ledger)
    }

    /// Logs the notifications about a batch.
    fn notify(&self, judged: &JudgedBatch) {
        let mut notifications: Vec<Notification> = Vec::new();
        {
            let mut notifier = self.notifier.lock().unwrap_or_else(PoisonError::into_inner);
            notifier.set_rules(&judged.rules);
            for report in &judged.reports {
                let place = &report.place;
                notifications
                    .extend(report.unclaimed.as_ref().and_then(|unclaimed| notifier.unclaimed(unclaimed, place)));
                if let Some(tenant) = report.tenant {
                    let verdicts = report.verdicts.iter();
                    notifications.extend(verdicts.flat_map(|verdict| notifier.verdict(tenant, verdict, place)));
                }
                notifications.extend(report.wanted_networks.then(|| notifier.networks(place)).flatten());
            }
            notifications.extend(judged.outcomes.blind.iter().filter_map(|blind| notifier.blind(blind)));
            notifications.extend(notifier.client(&judged.client, &judged.outcomes));
        }
        notifications.iter().for_each(log);
    }

    fn count(&self, judged: JudgedBatch) {
        let JudgedBatch { client, outcomes, accounts, alerts, reports, took, .. } = judged;
        let alerts = alerts.iter().map(|alert| (alert.tenant, Arc::clone(&alert.ndjson))).collect();
        self.stats.count_batch(&client, &outcomes, accounts, alerts, &reports, took);
    }

    /// Returns the reasons why the service is not ready; empty if it is.
    pub(crate) fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.stopping.is_cancelled() {
            reasons.push("the service is shutting down".to_owned());
        }
        for (name, cell) in self.tenants.iter().zip(&self.cells) {
            if cell.newer(&mut 0).is_none_or(|rules| rules.packages().is_empty()) {
                reasons.push(format!("tenant {name} has no active rule"));
            }
        }
        let states = self.sinks.states().into_iter().filter(|sink| !sink.takes);
        reasons.extend(states.map(|sink| format!("sink {}: {}", sink.name, sink.reason.unwrap_or_default())));
        let problem = self.jetstream.as_ref().and_then(|jetstream| jetstream.problem());
        reasons.extend(problem.map(|problem| format!("jetstream: {problem}")));
        let logs = [("dead letters", Some(&self.dead_letters)), ("ledger", self.ledger.as_ref())];
        reasons.extend(logs.into_iter().filter_map(|(name, log)| Some(format!("{name}: {}", log?.problem()?))));
        reasons
    }

    /// Reopens all files, after a rotation.
    pub(crate) fn reopen(&self) {
        self.sinks.reopen();
        self.dead_letters.reopen();
        self.ledger.iter().for_each(AppendLog::reopen);
    }
}

impl BatchIds {
    fn next(&self) -> String {
        format!("{}-{:x}-{}", self.replica, self.started_at, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// Logs a notification.
pub(crate) fn log(notification: &Notification) {
    match notification.level {
        Level::Warning => tracing::warn!("{notification}"),
        Level::Info => tracing::info!("{notification}"),
    }
}

/// Returns the receipt of a judged batch.
fn receipt(id: &str, judged: &JudgedBatch) -> Value {
    let (tenants, unclaimed) = &judged.accounts;
    let all = Accounting::total(tenants.iter().chain([unclaimed]));
    let mut receipt = json!({
        "batch": id, "records": judged.outcomes.records, "evaluated": all.evaluated, "ignored": all.ignored,
        "suspect": all.suspect, "rejected": all.rejected, "alerts": judged.alerts.len(),
    });
    warn(&mut receipt, &judged.outcomes);
    receipt
}

/// Adds a warning if no record of the batch was evaluated and some were ignored.
fn warn(receipt: &mut Value, outcomes: &Outcomes) {
    if let Some(text) = outcomes.nothing_evaluated() {
        receipt["warning"] = text.into();
    }
}
