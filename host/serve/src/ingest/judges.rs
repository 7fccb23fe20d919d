//! The threads that judge batches, each with its own judges.

use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis::alert::id_of;
use portcullis::event::Outcome;
use portcullis::pipeline::{AbortOnPanic, RuleVerdict};
use portcullis::read::{Record, Records, is_compressed};
use portcullis::report::{Origin, Outcomes, RecordReport, ReportOptions, judge_record};
use portcullis::rule_set::{RuleSetCell, RuleSetWatch, RuleSets};
use portcullis::{Accounting, Alert, Tenants, Verdict, ocsf};
use serde_json::json;
use tokio::sync::oneshot;

use super::reading::{Reading, Refused, read};
use crate::sink_alert::SinkAlert;
use crate::storage::{AlertId, Line};

/// The records of one request or one message, which are taken or refused together.
pub(crate) struct Batch {
    pub(crate) body: Vec<u8>,
    /// The tenant of the client. Without it, claims decide.
    pub(crate) tenant: Option<usize>,
    /// The client's name.
    pub(crate) client: Arc<str>,
    /// The batch's id, which is part of its ledger lines.
    pub(crate) id: String,
}

/// A judged batch and its results.
pub(crate) struct JudgedBatch {
    /// The client's name.
    pub(crate) client: Arc<str>,
    /// The outcomes of its records.
    pub(crate) outcomes: Outcomes,
    pub(crate) accounts: (Vec<Accounting>, Accounting),
    pub(crate) rules: RuleSets,
    pub(crate) alerts: Vec<SinkAlert>,
    pub(crate) ledger: Vec<Line>,
    pub(crate) dead_letters: Vec<Line>,
    /// Reports that may become notifications.
    pub(crate) reports: Vec<RecordReport>,
    pub(crate) took: Duration,
    /// The number of bytes to write for it.
    pub(crate) size: u64,
}

type Answer = Result<JudgedBatch, Refused>;

/// The options of judges.
#[derive(Clone, Copy)]
pub(crate) struct JudgeOptions {
    /// Maximum number of bytes of a decompressed batch.
    pub(crate) max_body: u64,
    /// Whether each record gets a ledger line.
    pub(crate) ledger: bool,
    /// Whether alerts are also written as OCSF findings.
    pub(crate) ocsf: bool,
}

/// A batch for the stream, before it was checked.
pub(crate) struct Unchecked {
    pub(crate) body: Vec<u8>,
    /// The name of the client, and of the tenant that owns the records.
    pub(crate) client: Arc<str>,
    pub(crate) tenant: Option<Arc<str>>,
}

/// A batch for the stream that can be read.
pub(crate) struct Checked {
    /// The batch's id. Equal batches of one client have equal ids, so that a repeated batch is recognized.
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

/// A handle to the judging threads.
pub(crate) struct Judges {
    tasks: Sender<Task>,
}

impl Judges {
    /// Starts the threads, which use the rule sets in these cells.
    pub(crate) fn start(
        tenants: Tenants,
        cells: &[Arc<RuleSetCell>],
        threads: NonZeroUsize,
        options: JudgeOptions,
    ) -> io::Result<Self> {
        let (tasks, receiver) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let others: Vec<Tenants> = (1..threads.get()).map(|_| tenants.fork()).collect();
        for tenants in std::iter::once(tenants).chain(others) {
            let judge =
                Judge { tenants, rules: RuleSetWatch::new(cells.to_vec()), records: Records::default(), options };
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new().name("portcullis-judge".to_owned()).spawn(move || judge.serve(&receiver))?;
        }
        Ok(Self { tasks })
    }

    /// Judges a batch. The memory budget bounds how many batches wait.
    pub(crate) async fn judge(&self, batch: Batch) -> Answer {
        self.ask(|answer| Task::Judge(batch, answer)).await
    }

    /// Checks that a batch can be read, without judging it.
    pub(crate) async fn check(&self, batch: Unchecked) -> Result<Checked, Refused> {
        self.ask(|answer| Task::Check(batch, answer)).await
    }

    async fn ask<T>(&self, task: impl FnOnce(oneshot::Sender<T>) -> Task) -> T {
        let (sender, answer) = oneshot::channel();
        let is_sent = self.tasks.send(task(sender)).is_ok();
        assert!(is_sent, "the judges live as long as the service");
        answer.await.expect("a judge answers")
    }
}

struct Judge {
    tenants: Tenants,
    rules: RuleSetWatch,
    records: Records,
    options: JudgeOptions,
}

impl Judge {
    fn serve(mut self, tasks: &Mutex<Receiver<Task>>) {
        let _abort = AbortOnPanic;
        let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        while let Ok(task) = next() {
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
        let id = id_of(&[client.as_bytes(), tenant.as_deref().unwrap_or_default().as_bytes(), &body]);
        let (mut reading, mut outcomes) = (Reading::default(), Outcomes::default());
        let packed = if is_compressed(&body) {
            body.clone()
        } else {
            let failed = |error: io::Error| Refused::TooLarge(format!("the batch cannot be compressed: {error}"));
            zstd::bulk::compress(&body, PACKING).map_err(failed)?
        };
        let mut each = |record: &Record<'_>, outcome: Outcome<'_>| {
            outcomes.count(&outcome, &|| format!("{client}:{}", record.place));
            reading.note(record, &outcome)
        };
        let documents = read(body, self.options.max_body, &mut self.records, &mut each)?;
        reading.end(documents)?;
        Ok(Checked { id, outcomes, packed })
    }

    fn judge(&mut self, batch: Batch) -> Answer {
        let Batch { body, tenant, client, id } = batch;
        let Self { tenants, rules, records, options } = self;
        let rules = rules.current();
        for (tenant, rules) in rules.iter().enumerate() {
            tenants.judge(tenant).set_rules(rules);
        }
        let report_options = ReportOptions { ledger: options.ledger, rejects: true, times: false };
        let origin = Origin { input: &client, tenant };
        let mut judged = JudgedBatch::new(Arc::clone(&client), rules);
        let (mut reading, mut outcomes) = (Reading::default(), Outcomes::default());
        let most = 4 * options.max_body;
        let mut each = |record: &Record<'_>, outcome: Outcome<'_>| {
            reading.note(record, &outcome)?;
            // Lines of other outcomes contain both already.
            let known = match &outcome {
                Outcome::Evaluated(event) if options.ledger => {
                    Some((event.audit_id.as_ref().map(ToString::to_string), format!("{client}:{}", record.place)))
                }
                _ => None,
            };
            let report = judge_record(tenants, report_options, &mut outcomes, origin, record, outcome);
            if let Some(report) = report {
                judged.add(report, &id, known, options.ocsf);
            }
            if judged.size > most {
                let what = format!("the results are more than {most} bytes; send fewer records at once");
                return Err(Refused::TooLarge(what));
            }
            Ok(())
        };
        let read = read(body, options.max_body, records, &mut each);
        judged.accounts = tenants.take_accounts();
        let documents = read?;
        reading.end(documents)?;
        judged.outcomes = outcomes;
        Ok(judged)
    }
}

/// The compression level of batches in the stream: the fastest.
const PACKING: i32 = 1;

impl JudgedBatch {
    fn new(client: Arc<str>, rules: RuleSets) -> Self {
        Self {
            client,
            outcomes: Outcomes::default(),
            accounts: (Vec::new(), Accounting::default()),
            rules,
            alerts: Vec::new(),
            ledger: Vec::new(),
            dead_letters: Vec::new(),
            reports: Vec::new(),
            took: Duration::ZERO,
            size: 0,
        }
    }

    /// Adds the lines and alerts of a record. `known` is the audit id and the place of an evaluated record.
    fn add(&mut self, mut report: RecordReport, id: &str, known: Option<(Option<String>, String)>, wants_ocsf: bool) {
        if let Some(mut line) = report.ledger.take() {
            if let Some((audit_id, place)) = known {
                line = line.with("audit_id", &json!(audit_id));
                // An unclaimed record is rejected, and its line has the place already.
                if report.unclaimed.is_none() {
                    line = line.with("place", &json!(place));
                }
            }
            let line = line.with("batch", &json!(id));
            self.size += line.len() as u64;
            self.ledger.push(Line::Numbered(line));
        }
        if let Some(line) = report.reject.take() {
            let line = line.with("batch", &json!(id));
            self.size += line.len() as u64;
            self.dead_letters.push(Line::Numbered(line));
        }
        if let Some(tenant) = report.tenant {
            for verdict in &report.verdicts {
                let Verdict::Alert(alert) = &verdict.verdict else { continue };
                let spec = verdict.package.spec();
                let finding = wants_ocsf.then(|| ocsf::finding(alert, spec, Timestamp::now()).to_string().into());
                let alerted =
                    SinkAlert { id: own_id(alert), tenant, ndjson: json!(alert).to_string().into(), ocsf: finding };
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

fn own_id(alert: &Alert) -> AlertId {
    AlertId::of(&alert.alert_id).expect("an alert's id is 32 hexadecimal digits")
}
