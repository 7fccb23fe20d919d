//! Judges batches, stores their results and counts them.

mod budget;
mod judges;
mod queue;
mod reading;

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use bytes::Bytes;
use portcullis::report::{Level, Notification, Notifier, Outcomes};
use portcullis::rule_set::RuleSetCell;
use portcullis::{Accounting, Tenants};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::ServeError;
use crate::jetstream::{JetStream, header};
use crate::machine::Machine;
use crate::settings::{ClientSettings, Role, Settings};
use crate::sinks::Sinks;
use crate::stats::Stats;
use crate::storage::{AppendLog, NotWritten};
use budget::MemoryBudget;
pub(crate) use budget::{OverBudget, Permit};
#[cfg(test)]
pub(crate) use judges::{Answer, Checked as CheckedBatch, Unchecked as UncheckedBatch, with_end};
pub(crate) use judges::{Batch, JudgedBatch};
use judges::{Checked, JudgeOptions, Judges, RESULTS, Unchecked};
pub(crate) use judges::{HasRules, Judging};
pub(crate) use reading::Refused;

/// The part of the service that judges batches and stores their results.
pub(crate) struct Ingest {
    /// The names of the tenants.
    pub(crate) tenants: Arc<[Arc<str>]>,
    judges: Box<dyn Judging>,
    pub(crate) sinks: Sinks,
    /// The log of records that cannot be judged, and of alerts that a sink refuses for good.
    dead_letters: AppendLog,
    ledger: Option<AppendLog>,
    notifier: Mutex<Notifier>,
    /// Tenants without rules whose events became dead letters, of which the operator was notified.
    without_rules: Mutex<BTreeSet<usize>>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) budget: MemoryBudget,
    pub(crate) jetstream: Option<Arc<JetStream>>,
    ids: BatchIds,
    /// The batches in flight: read and not yet answered.
    pub(crate) in_flight: TaskTracker,
    /// Cancelled when the service stops.
    pub(crate) stopping: CancellationToken,
    /// Whether this replica has the rules that are published for all. Batches are not judged before.
    has_published_rules: AtomicBool,
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
    pub(crate) body: Bytes,
    pub(crate) permit: Permit,
}

/// The reason why a batch is not taken.
pub(crate) enum NotTaken {
    /// The batch is invalid, and will be refused again.
    Refused(Refused),
    /// The batch and its results do not fit into the memory budget.
    OverBudget(OverBudget),
    /// Its results cannot be stored now.
    NotKept(String),
    /// The batch cannot be stored in the stream now.
    NotStored(String),
}

/// The arguments of [`Ingest::new`] in addition to the settings.
pub(crate) struct Opening {
    pub(crate) machine: Arc<dyn Machine>,
    /// What judges. It must know which sinks there are, and whether there is a ledger.
    pub(crate) judges: Box<dyn Judging>,
    pub(crate) sinks: Sinks,
    pub(crate) logs: RecordLogs,
    pub(crate) notifier: Notifier,
    pub(crate) stats: Arc<Stats>,
    pub(crate) jetstream: Option<Arc<JetStream>>,
    pub(crate) replica: Arc<str>,
    pub(crate) stopping: CancellationToken,
}

/// The logs of records.
pub(crate) struct RecordLogs {
    pub(crate) ledger: Option<AppendLog>,
    pub(crate) dead_letters: AppendLog,
}

impl RecordLogs {
    /// Opens the logs of a service with these settings.
    pub(crate) fn open(machine: &Arc<dyn Machine>, settings: &Settings) -> Result<Self, ServeError> {
        let dead_letters = settings.dead_letters();
        let logs = AppendLog::open_records(machine, settings.ledger.as_deref(), &dead_letters);
        let cannot = |(path, error): (PathBuf, io::Error)| {
            ServeError::Io(anyhow!(error).context(format!("{}: cannot be opened", path.display())))
        };
        let (ledger, dead_letters) = logs.map_err(cannot)?;
        Ok(Self { ledger, dead_letters })
    }
}

/// The part of a client's memory budget that one tenant's alerts may have in a batch, if there are not more tenants.
const ALERTS_OF_TENANT: u64 = 8;

/// Bytes that one tenant's alerts may have in any case: one of the largest, and its finding.
const ALERTS_AT_LEAST: u64 = 1 << 20;

/// Returns the bytes that the alerts of each of these tenants may have in a batch. What is more would get the records of
/// other tenants refused.
fn alert_bytes(settings: &Settings, tenants: usize) -> usize {
    if tenants <= 1 {
        return usize::MAX;
    }
    let of_client = MemoryBudget::of_each(settings.in_flight, settings.max_body, settings.clients.len());
    let of_batch = of_client.min(RESULTS * settings.max_body);
    let of_tenant = of_batch / ALERTS_OF_TENANT.max(tenants as u64);
    usize::try_from(of_tenant.max(ALERTS_AT_LEAST)).unwrap_or(usize::MAX)
}

/// Starts the threads that judge for a service with these settings and sinks.
pub(crate) fn start_judges(
    settings: &Settings,
    sinks: &Sinks,
    tenants: Tenants,
    cells: Vec<Arc<RuleSetCell>>,
    threads: NonZeroUsize,
) -> Result<Judges, ServeError> {
    let (ledger, ocsf) = (settings.ledger.is_some(), sinks.want_ocsf());
    let alert_bytes = alert_bytes(settings, cells.len());
    let sends = |client: &&ClientSettings| client.roles.contains(&Role::Ingest);
    // A stream has batches of clients of other replicas.
    let several_clients = settings.clients.iter().filter(sends).count() > 1 || settings.jetstream.is_some();
    let options = JudgeOptions { max_body: settings.max_body, ledger, ocsf, alert_bytes, several_clients };
    let judges = Judges::start(tenants, cells, threads, options, sinks);
    judges.map_err(|error| ServeError::Io(anyhow!(error).context("the threads that judge cannot be started")))
}

impl Ingest {
    /// Puts the parts together.
    pub(crate) fn new(settings: &Settings, opening: Opening) -> Self {
        let Opening { machine, judges, sinks, logs, notifier, stats, jetstream, replica, stopping } = opening;
        let RecordLogs { ledger, dead_letters } = logs;
        let shares_rules = settings.jetstream.as_ref().is_some_and(|jetstream| jetstream.rules);
        Self {
            judges,
            budget: MemoryBudget::new(settings.in_flight, settings.max_body, settings.clients.len()),
            tenants: Arc::clone(&stats.names),
            sinks,
            dead_letters,
            ledger,
            notifier: Mutex::new(notifier),
            without_rules: Mutex::default(),
            stats,
            jetstream,
            ids: BatchIds { replica, started_at: machine.now().as_millisecond(), next: AtomicU64::new(0) },
            in_flight: TaskTracker::new(),
            stopping,
            has_published_rules: AtomicBool::new(!shares_rules),
        }
    }

    /// Judges a batch, or stores it in the stream if the settings say so. On success it is safe. Returns the receipt
    /// for the client.
    pub(crate) async fn take(&self, batch: ClientBatch) -> Result<Value, NotTaken> {
        let _in_flight = self.in_flight.token();
        match &self.jetstream {
            Some(jetstream) if jetstream.settings.ingest => self.store(jetstream, batch).await,
            _ => {
                let ClientBatch { client, tenant, body, mut permit } = batch;
                let batch = Batch { body, tenant, client, id: self.ids.next().into() };
                let judged = self.judge(batch, &mut permit).await?;
                let kept = self.keep(&judged).await;
                self.settle(&judged, kept.is_ok()).await;
                kept.map_err(|NotWritten(why)| NotTaken::NotKept(why))?;
                let receipt = self.receipt(&judged);
                self.count(judged);
                Ok(receipt)
            }
        }
    }

    /// Judges a batch. The permit must cover the batch, and grows to cover the results too.
    pub(crate) async fn judge(&self, batch: Batch, permit: &mut Permit) -> Result<JudgedBatch, NotTaken> {
        let size = batch.body.len() as u64;
        let judged = self.judges.judge(batch).await.map_err(NotTaken::Refused)?;
        match (permit.grow(size + judged.size), judged.without_rules.first()) {
            (Ok(()), _) => Ok(judged),
            // Once the tenant has rules, its events need less.
            (Err(OverBudget::Always(_)), Some(tenant)) => {
                let missing = self.judges.rules_of(*tenant).missing(&self.tenants[*tenant]);
                Err(NotTaken::Refused(Refused::NotReady(missing.unwrap_or_default())))
            }
            (Err(over), _) => Err(NotTaken::OverBudget(over)),
        }
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

    /// Stores the results of a batch: its alerts and dead letters, and then its lines in the ledger. So a batch that is
    /// in the ledger is complete. If something fails, all of it can be stored again, and nothing is there twice.
    pub(crate) async fn keep(&self, judged: &JudgedBatch) -> Result<(), NotWritten> {
        let dead_letters = self.dead_letters.append_in_turns(&judged.dead_letters, Some(&judged.id));
        let (alerts, dead_letters) = tokio::join!(biased; self.sinks.put(&judged.alerts), dead_letters);
        alerts.and(dead_letters)?;
        match &self.ledger {
            Some(log) => log.append_batch(&judged.id, &judged.ledger).await,
            None => Ok(()),
        }
    }

    /// Notes that the results of a batch are stored, or that the batch is refused.
    pub(crate) async fn settle(&self, judged: &JudgedBatch, is_stored: bool) {
        if !judged.dead_letters.is_empty() {
            self.dead_letters.settle(&judged.id, is_stored).await;
        }
    }

    /// Counts a batch that is stored, and notifies the operator of what is new in it.
    pub(crate) fn count(&self, judged: JudgedBatch) {
        self.notify(&judged);
        let JudgedBatch { client, outcomes, accounts, alerts, reports, took, .. } = judged;
        let alerts = alerts.iter().map(|alert| (alert.tenant, Arc::clone(&alert.ndjson))).collect();
        self.stats.count_batch(&client, &outcomes, accounts, alerts, &reports, took);
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
        let mut known = self.without_rules.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|tenant| self.judges.rules_of(*tenant) != HasRules::Yes);
        for tenant in judged.without_rules.iter().filter(|tenant| known.insert(**tenant)) {
            tracing::warn!(
                client = &*judged.client,
                "tenant {} has no active rule; its events become dead letters if they come with those of others",
                self.tenants[*tenant]
            );
        }
    }

    /// Returns the receipt of a judged batch.
    fn receipt(&self, judged: &JudgedBatch) -> Value {
        let (tenants, unclaimed) = &judged.accounts;
        let all = Accounting::total(tenants.iter().chain([unclaimed]));
        let mut receipt = json!({
            "batch": &*judged.id, "records": judged.outcomes.records, "evaluated": all.evaluated,
            "ignored": all.ignored, "suspect": all.suspect, "rejected": all.rejected, "alerts": judged.alerts.len(),
        });
        warn(&mut receipt, &judged.outcomes);
        let without = judged.without_rules.iter().map(|tenant| {
            let (name, events) = (&self.tenants[*tenant], tenants[*tenant].evaluated);
            format!("tenant {name} has no active rule: {events} events are dead letters")
        });
        let without: Vec<String> = without.collect();
        if !without.is_empty() {
            receipt["warning"] = without.join("; ").into();
        }
        receipt
    }

    /// Returns whether this replica has the rules that are published for all.
    pub(crate) fn has_published_rules(&self) -> bool {
        self.has_published_rules.load(Ordering::Acquire)
    }

    /// Notes that this replica has the rules that are published for all.
    pub(crate) fn set_has_published_rules(&self) {
        self.has_published_rules.store(true, Ordering::Release);
    }

    /// Returns the reasons why no batch can be judged and stored now; empty if it can.
    pub(crate) fn obstacles(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let has_rules = (0..self.tenants.len()).map(|tenant| self.judges.rules_of(tenant));
        let has_rules: Vec<HasRules> = has_rules.collect();
        let missing = match &*has_rules {
            _ if !self.has_published_rules() => Some("the published rules have not been read yet"),
            [] => None,
            all if all.contains(&HasRules::Yes) => None,
            all if all.contains(&HasRules::Awaited) => Some("the rules are still being checked"),
            _ => Some("no tenant has an active rule"),
        };
        reasons.extend(missing.map(str::to_owned));
        let states = self.sinks.states().into_iter().filter(|sink| !sink.takes);
        reasons.extend(states.map(|sink| format!("sink {}: {}", sink.name, sink.reason.unwrap_or_default())));
        let logs = [("dead letters", Some(&self.dead_letters)), ("ledger", self.ledger.as_ref())];
        reasons.extend(logs.into_iter().filter_map(|(name, log)| Some(format!("{name}: {}", log?.problem()?))));
        reasons
    }

    /// Returns the reasons why the service is not ready; empty if it is.
    pub(crate) fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.stopping.is_cancelled() {
            reasons.push("the service is shutting down".to_owned());
        }
        reasons.extend(self.obstacles());
        let problem = self.jetstream.as_ref().and_then(|jetstream| jetstream.problem());
        reasons.extend(problem.map(|problem| format!("jetstream: {problem}")));
        // Only for a while, because otherwise a tenant could keep the others from being served.
        let awaited = |(tenant, name): (usize, &Arc<str>)| {
            let has_rules = self.judges.rules_of(tenant);
            has_rules.missing(name).filter(|_| has_rules == HasRules::Awaited)
        };
        reasons.extend(self.tenants.iter().enumerate().filter_map(awaited));
        reasons
    }

    /// Returns what to say of a tenant that has no rules; `None` if it has some.
    pub(crate) fn missing_rules(&self, tenant: usize) -> Option<String> {
        self.judges.rules_of(tenant).missing(&self.tenants[tenant])
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

/// Adds a warning if no record of the batch was evaluated and some were ignored.
fn warn(receipt: &mut Value, outcomes: &Outcomes) {
    if let Some(text) = outcomes.nothing_evaluated() {
        receipt["warning"] = text.into();
    }
}
