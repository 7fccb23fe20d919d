//! The threads that judge batches, each with its own judges.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use portcullis::alert::id_of;
use portcullis::event::Outcome;
use portcullis::package::Spec;
use portcullis::pipeline::{AbortOnPanic, RuleVerdict};
use portcullis::read::{Record, is_compressed};
use portcullis::report::{Origin, Outcomes, RecordReport, ReportOptions, judge_record};
use portcullis::rule_set::{RuleSet, RuleSetCell, RuleSetWatch, RuleSets};
use portcullis::sandbox::json_length;
use portcullis::{Accounting, Alert, Tenants, Verdict, ocsf};
use serde_json::json;
use tokio::sync::oneshot;
use zstd::bulk::Compressor;

use super::queue::{self, Lane, Queue};
use super::reading::{BatchReader, Reading, Refused};
use crate::sink_alert::SinkAlert;
use crate::sinks::Sinks;
use crate::storage::{BATCH_END, Line, LineId};

/// The records of one request or one message, which are taken or refused together.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) body: Bytes,
    /// The tenant of the client. Without it, claims decide.
    pub(crate) tenant: Option<usize>,
    /// The client's name.
    pub(crate) client: Arc<str>,
    /// The batch's id, which is part of its ledger lines.
    pub(crate) id: Arc<str>,
}

/// A judged batch and its results.
pub(crate) struct JudgedBatch {
    /// The batch's id.
    pub(crate) id: Arc<str>,
    /// The client's name.
    pub(crate) client: Arc<str>,
    /// The outcomes of its records.
    pub(crate) outcomes: Outcomes,
    pub(crate) accounts: (Vec<Accounting>, Accounting),
    pub(crate) rules: RuleSets,
    /// The tenants that have no rules. Their events are dead letters, because the batch has events of others.
    pub(crate) without_rules: Vec<usize>,
    pub(crate) alerts: Vec<SinkAlert>,
    pub(crate) ledger: Arc<[Line]>,
    pub(crate) dead_letters: Arc<[Line]>,
    /// Reports that may become notifications.
    pub(crate) reports: Vec<RecordReport>,
    pub(crate) took: Duration,
    /// The number of bytes to write for it.
    pub(crate) size: u64,
}

pub(crate) type Answer = Result<JudgedBatch, Refused>;

/// The options of judges.
#[derive(Clone, Copy)]
pub(crate) struct JudgeOptions {
    /// Maximum number of bytes of a decompressed batch.
    pub(crate) max_body: u64,
    /// Whether each record gets a ledger line.
    pub(crate) ledger: bool,
    /// Whether alerts are also written as OCSF findings.
    pub(crate) ocsf: bool,
    /// Maximum number of bytes of one tenant's alerts in a batch.
    pub(crate) alert_bytes: usize,
    /// Whether more than one client may send batches.
    pub(crate) several_clients: bool,
}

/// A batch for the stream, before it was checked.
pub(crate) struct Unchecked {
    pub(crate) body: Bytes,
    /// The name of the client, and of the tenant that owns the records.
    pub(crate) client: Arc<str>,
    pub(crate) tenant: Option<Arc<str>>,
}

/// A batch for the stream that can be read.
pub(crate) struct Checked {
    /// The batch's id. Equal batches of one client have equal ids while the version of zstd is the same, so that a
    /// repeated batch is recognized.
    pub(crate) id: String,
    /// The outcomes of its records, as far as they are known without judging.
    pub(crate) outcomes: Outcomes,
    /// The body, compressed unless it was already.
    pub(crate) packed: Vec<u8>,
}

/// A task for a judging thread.
enum Task {
    Judge(Batch, oneshot::Sender<Answer>),
    Check(Unchecked, oneshot::Sender<Result<Checked, Refused>>),
}

/// What judges batches. A simulation has a model of it.
pub(crate) trait Judging: Send + Sync {
    /// Judges a batch.
    fn judge(&self, batch: Batch) -> BoxFuture<'_, Answer>;

    /// Checks that a batch can be read, without judging it.
    fn check(&self, batch: Unchecked) -> BoxFuture<'_, Result<Checked, Refused>>;

    /// Returns which rules a tenant has.
    fn rules_of(&self, tenant: usize) -> HasRules;
}

/// Whether a tenant has rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HasRules {
    /// It has active rules.
    Yes,
    /// Its first rules are being checked.
    Awaited,
    /// Its first rules are being checked for so long that others do not wait for it any more.
    Late,
    /// It has no active rule.
    No,
}

/// Maximum time for which batches of several tenants wait for the first rules of one. An API server tries again for more
/// than 81 s.
const AWAITED_AT_MOST: Duration = Duration::from_mins(1);

impl HasRules {
    fn of(rules: &RuleSet) -> Self {
        match rules.awaited_since() {
            _ if rules.has_rules() => Self::Yes,
            Some(since) if since.elapsed() < AWAITED_AT_MOST => Self::Awaited,
            Some(_) => Self::Late,
            None => Self::No,
        }
    }

    /// Returns what to say of a tenant's missing rules.
    pub(crate) fn missing(self, tenant: &str) -> Option<String> {
        match self {
            Self::Yes => None,
            Self::Awaited | Self::Late => Some(format!("the rules of tenant {tenant} are still being checked")),
            Self::No => Some(format!("tenant {tenant} has no active rule")),
        }
    }
}

/// A handle to the judging threads, which end with it.
pub(crate) struct Judges {
    tasks: Arc<Queue<Task>>,
    cells: Vec<Arc<RuleSetCell>>,
}

impl Judges {
    /// Starts the threads, which use the rule sets in these cells.
    pub(crate) fn start(
        tenants: Tenants,
        cells: Vec<Arc<RuleSetCell>>,
        threads: NonZeroUsize,
        options: JudgeOptions,
        sinks: &Sinks,
    ) -> io::Result<Self> {
        let number = u32::try_from(threads.get()).unwrap_or(u32::MAX);
        let lanes = if options.several_clients {
            let (light, heavy) = queue::lanes(number);
            [vec![Lane::Light; light], vec![Lane::Heavy; heavy]].concat()
        } else {
            vec![Lane::Only; threads.get()]
        };
        let tasks = Arc::new(Queue::new(number));
        let others: Vec<Tenants> = (1..lanes.len()).map(|_| tenants.fork()).collect();
        for (tenants, lane) in std::iter::once(tenants).chain(others).zip(lanes) {
            let compressor = Compressor::new(PACKING)?;
            let judge = Judge {
                compressor,
                tenants,
                rules: RuleSetWatch::new(cells.clone()),
                reader: BatchReader::default(),
                options,
                sinks: sinks.clone(),
            };
            let tasks = Arc::clone(&tasks);
            std::thread::Builder::new().name("portcullis-judge".to_owned()).spawn(move || judge.serve(&tasks, lane))?;
        }
        Ok(Self { tasks, cells })
    }

    async fn ask<T>(&self, client: Arc<str>, task: impl FnOnce(oneshot::Sender<T>) -> Task) -> T {
        let (sender, answer) = oneshot::channel();
        self.tasks.push(&client, task(sender));
        answer.await.expect("a judge answers")
    }
}

impl Judging for Judges {
    /// The memory budget bounds how many batches wait.
    fn judge(&self, batch: Batch) -> BoxFuture<'_, Answer> {
        self.ask(Arc::clone(&batch.client), |answer| Task::Judge(batch, answer)).boxed()
    }

    fn check(&self, batch: Unchecked) -> BoxFuture<'_, Result<Checked, Refused>> {
        self.ask(Arc::clone(&batch.client), |answer| Task::Check(batch, answer)).boxed()
    }

    fn rules_of(&self, tenant: usize) -> HasRules {
        self.cells[tenant].newer(&mut 0).map_or(HasRules::No, |rules| HasRules::of(&rules))
    }
}

impl Drop for Judges {
    fn drop(&mut self) {
        self.tasks.close();
    }
}

/// Lowers the priority of this thread, on Linux. If this fails, heavy clients cost others more.
fn lower_priority() {
    let _ = rustix::process::nice(HEAVY_NICE);
}

/// The niceness of threads that judge batches of heavy clients: a tenth of the time of others.
const HEAVY_NICE: i32 = 10;

struct Judge {
    compressor: Compressor<'static>,
    tenants: Tenants,
    rules: RuleSetWatch,
    reader: BatchReader,
    options: JudgeOptions,
    sinks: Sinks,
}

impl Judge {
    fn serve(mut self, tasks: &Queue<Task>, lane: Lane) {
        let _abort = AbortOnPanic;
        if lane == Lane::Heavy {
            lower_priority();
        }
        while let Some((task, _turn)) = tasks.next(lane) {
            // If the caller is gone, the client will send the batch again.
            match task {
                Task::Judge(batch, answer) => {
                    let began = Instant::now();
                    let judged = self.judge(batch).map(|judged| JudgedBatch { took: began.elapsed(), ..judged });
                    let _ = answer.send(judged);
                }
                Task::Check(batch, answer) => drop(answer.send(self.check(batch))),
            }
        }
    }

    fn check(&mut self, batch: Unchecked) -> Result<Checked, Refused> {
        let Unchecked { body, client, tenant } = batch;
        let (mut reading, mut outcomes) = (Reading::default(), Outcomes::default());
        let packed = if is_compressed(&body) {
            body.to_vec()
        } else {
            let failed = |error: io::Error| Refused::TooLarge(format!("the batch cannot be compressed: {error}"));
            self.compressor.compress(&body).map_err(failed)?
        };
        // Of the compressed body, which has a fifth of the bytes. One version of zstd compresses equal bodies to equal
        // bytes.
        let id = id_of(&[client.as_bytes(), tenant.as_deref().unwrap_or_default().as_bytes(), &packed]);
        let mut each = |record: &Record<'_>, outcome: Outcome<'_>| {
            outcomes.count(&outcome, &|| format!("{client}:{}", record.place));
            reading.note(record, &outcome)
        };
        let documents = self.reader.read(body, self.options.max_body, &mut each)?;
        reading.end(documents)?;
        Ok(Checked { id, outcomes, packed })
    }

    fn judge(&mut self, batch: Batch) -> Answer {
        let Batch { body, tenant, client, id } = batch;
        let Self { tenants, rules, reader, options, sinks, .. } = self;
        let rules = rules.current();
        for (number, rules) in rules.iter().enumerate() {
            tenants.judge(number).set_rules(rules);
            let cost = if options.ocsf { cost_with_finding } else { cost };
            // A batch of one tenant waits until there is room. One of several must not.
            let room = if tenant.is_none() { sinks.room(number) } else { u64::MAX };
            let bytes = options.alert_bytes.min(usize::try_from(room).unwrap_or(usize::MAX));
            tenants.judge(number).limit_alerts(bytes, cost);
        }
        let report_options = ReportOptions { ledger: options.ledger, rejects: true, times: false };
        let origin = Origin { input: &client, tenant, batch: Some(&id) };
        let mut results = Results::default();
        let (mut reading, mut outcomes) = (Reading::default(), Outcomes::default());
        let most = RESULTS * options.max_body;
        let mut each = |record: &Record<'_>, outcome: Outcome<'_>| {
            reading.note(record, &outcome)?;
            if let (Some(tenant), Outcome::Evaluated(_)) = (tenant, &outcome)
                && let Some(refused) = without_rules(&rules[tenant], tenants.all()[tenant].0.tenant())
            {
                return Err(refused);
            }
            let report = judge_record(tenants, report_options, &mut outcomes, origin, record, outcome);
            if let Some(report) = report {
                results.add(report, options.ocsf);
            }
            if results.size > most {
                let what = format!("the results are more than {most} bytes; send fewer records at once");
                return Err(Refused::TooLarge(what));
            }
            Ok(())
        };
        let read = reader.read(body, options.max_body, &mut each);
        let accounts = tenants.take_accounts();
        let of_tenants = accounts.0.iter().zip(rules.iter()).enumerate();
        let (judged, without_rules): (Vec<_>, Vec<_>) =
            of_tenants.filter(|(_, (account, _))| account.evaluated > 0).partition(|(_, (_, rules))| rules.has_rules());
        if let Ok(_) | Err(Refused::TooLarge(_)) = read {
            let is_awaited = |rules: &RuleSet| HasRules::of(rules) == HasRules::Awaited;
            let waits_for = |(_, (_, rules)): &&(usize, (_, &Arc<RuleSet>))| judged.is_empty() || is_awaited(rules);
            let waits_for = without_rules.iter().find(waits_for).map(|(tenant, _)| *tenant);
            if let Some(refused) =
                waits_for.and_then(|tenant| self::without_rules(&rules[tenant], tenants.all()[tenant].0.tenant()))
            {
                return Err(refused);
            }
        }
        let without_rules: Vec<usize> = without_rules.into_iter().map(|(tenant, _)| tenant).collect();
        reading.end(read?)?;
        let Results { alerts, ledger, dead_letters, reports, size } = results;
        Ok(JudgedBatch {
            id,
            client,
            outcomes,
            accounts,
            rules,
            without_rules,
            alerts,
            ledger: with_end(ledger).into(),
            dead_letters: dead_letters.into(),
            reports,
            took: Duration::ZERO,
            size,
        })
    }
}

/// How many times the maximum of a batch its results may have.
pub(super) const RESULTS: u64 = 4;

/// What a spool adds to an alert, in bytes: the time, a space and a line end.
const IN_SPOOL: usize = 32;

/// Returns the number of bytes to write for an alert.
fn cost(alert: &Alert, _: &Spec) -> usize {
    json_length(alert).saturating_add(IN_SPOOL)
}

/// Returns the number of bytes to write for an alert and its finding.
fn cost_with_finding(alert: &Alert, spec: &Spec) -> usize {
    cost(alert, spec).saturating_add(json_length(&ocsf::finding(alert, spec, Timestamp::now())))
}

/// The compression level of batches in the stream. It makes audit logs five times smaller, and takes less time than to
/// judge them. Level 1 makes them seven times smaller, and takes twice as long.
const PACKING: i32 = -5;

/// Marks the last line of a batch.
pub(crate) fn with_end(mut lines: Vec<Line>) -> Vec<Line> {
    if let Some(Line::Numbered(last)) = lines.pop() {
        lines.push(Line::Numbered(last.with(BATCH_END, &json!(true))));
    }
    lines
}

/// The results of the records of a batch.
#[derive(Default)]
struct Results {
    alerts: Vec<SinkAlert>,
    ledger: Vec<Line>,
    dead_letters: Vec<Line>,
    reports: Vec<RecordReport>,
    /// The number of bytes of all of them.
    size: u64,
}

impl Results {
    /// Adds the lines and alerts of a record.
    fn add(&mut self, mut report: RecordReport, wants_ocsf: bool) {
        if let Some(line) = report.ledger.take() {
            self.size += line.len() as u64;
            self.ledger.push(Line::Numbered(line));
        }
        if let Some(line) = report.reject.take() {
            self.size += line.len() as u64;
            self.dead_letters.push(Line::Numbered(line));
        }
        if let Some(tenant) = report.tenant {
            for verdict in &report.verdicts {
                let Verdict::Alert(alert) = &verdict.verdict else { continue };
                let spec = verdict.package.spec();
                let finding = wants_ocsf.then(|| ocsf::finding(alert, spec, Timestamp::now()).to_string().into());
                let ndjson = serde_json::to_string(alert).expect("texts, numbers and JSON can be written").into();
                let alerted = SinkAlert { id: own_id(alert), tenant, ndjson, ocsf: finding };
                self.size += (alerted.ndjson.len() + alerted.ocsf.as_deref().map_or(0, str::len)) as u64;
                self.alerts.push(alerted);
            }
        }
        let is_notified =
            |verdict: &RuleVerdict| !verdict.notices.is_empty() || matches!(verdict.verdict, Verdict::Fault(_));
        report.verdicts.retain(is_notified);
        if report.unclaimed.is_some() || report.wanted_networks || !report.verdicts.is_empty() {
            self.size += 1_000;
            self.reports.push(report);
        }
    }
}

/// Returns the refusal of a batch that waits for a tenant's rules; `None` if the tenant has rules.
fn without_rules(rules: &RuleSet, tenant: &str) -> Option<Refused> {
    let has_rules = HasRules::of(rules);
    let missing = has_rules.missing(tenant)?;
    Some(if has_rules == HasRules::Awaited { Refused::NotYet(missing) } else { Refused::NotReady(missing) })
}

fn own_id(alert: &Alert) -> LineId {
    LineId::of(&alert.alert_id).expect("an alert's id is 32 hexadecimal digits")
}
