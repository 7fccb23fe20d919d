//! The threads that judge deliveries, each with judges of its own.

use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis::read::{Record, Records, is_compressed};
use portcullis::{Accounting, Alert, Exchange, RuleSet, Tenants, Verdict, id_of, ocsf};
use portcullis_event::Outcome;
use serde_json::json;
use tokio::sync::oneshot;

use super::journal::Line;
use super::reading::{Reading, Refused, read};
use super::recent::Id;
use super::sinks::Alerted;
use crate::cli::batch::{Current, Published};
use crate::cli::seen::Seen;
use crate::cli::worker::{self, EndOnPanic, Noted, Origin, Wanted};

/// Records that came together, and are taken or refused together.
pub(super) struct Delivery {
    pub(super) body: Vec<u8>,
    /// Whose they are, if whoever brought them is a tenant's.
    pub(super) whose: Option<usize>,
    /// Who brought them.
    pub(super) input: Arc<str>,
    /// The number of the delivery, which its lines in the ledger have.
    pub(super) id: String,
}

/// What came of a delivery.
pub(super) struct JudgedDelivery {
    /// Who brought it.
    pub(super) client: Arc<str>,
    /// What became of its records.
    pub(super) seen: Seen,
    pub(super) accounts: (Vec<Accounting>, Accounting),
    pub(super) rules: Current,
    pub(super) alerts: Vec<Alerted>,
    pub(super) ledger: Vec<Line>,
    pub(super) dead_letters: Vec<Line>,
    /// What an operator must hear.
    pub(super) noted: Vec<Noted>,
    pub(super) took: Duration,
    /// The bytes of all that is written about it.
    pub(super) size: u64,
}

type Answer = Result<JudgedDelivery, Refused>;

/// How judges judge deliveries.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// The most bytes of a delivery when it is decompressed.
    pub(super) max_body: u64,
    /// Whether every record gets a line in the ledger.
    pub(super) ledger: bool,
    /// Whether alerts are also made findings.
    pub(super) ocsf: bool,
}

/// A delivery that is to be judged later, and elsewhere.
pub(super) struct Unchecked {
    pub(super) body: Vec<u8>,
    /// Who brings it, and whose its records are.
    pub(super) client: Arc<str>,
    pub(super) tenant: Option<Arc<str>>,
}

/// A delivery that can be read.
pub(super) struct Checked {
    /// The same for the same delivery of the same client, so that one which is brought again is one.
    pub(super) id: String,
    /// What its records are.
    pub(super) seen: Seen,
    /// It, compressed unless it was.
    pub(super) packed: Vec<u8>,
}

/// What threads are asked for.
enum Task {
    Judge(Delivery, oneshot::Sender<Answer>),
    Check(Unchecked, oneshot::Sender<Result<Checked, Refused>>),
}

/// The near end of the threads.
pub(super) struct Judges {
    tasks: Sender<Task>,
}

impl Judges {
    /// Starts so many threads, which judge with what is published here.
    pub(super) fn start(
        tenants: Tenants,
        exchanges: &[Arc<Exchange<RuleSet>>],
        threads: NonZeroUsize,
        manner: Manner,
    ) -> io::Result<Self> {
        let (tasks, receiver) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let others: Vec<Tenants> = (1..threads.get()).map(|_| tenants.another()).collect();
        for tenants in std::iter::once(tenants).chain(others) {
            let judge =
                Judge { tenants, published: Published::new(exchanges.to_vec()), records: Records::default(), manner };
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new().name("portcullis-judge".to_owned()).spawn(move || judge.serve(&receiver))?;
        }
        Ok(Self { tasks })
    }

    /// Judges a delivery. How many wait is bounded by the room that they take.
    pub(super) async fn judge(&self, delivery: Delivery) -> Answer {
        self.ask(|answer| Task::Judge(delivery, answer)).await
    }

    /// Reads a delivery without judging it: whether it can be, later and elsewhere.
    pub(super) async fn check(&self, delivery: Unchecked) -> Result<Checked, Refused> {
        self.ask(|answer| Task::Check(delivery, answer)).await
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
    published: Published,
    records: Records,
    manner: Manner,
}

impl Judge {
    fn serve(mut self, tasks: &Mutex<Receiver<Task>>) {
        let _unless_it_panics = EndOnPanic;
        let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        while let Ok(task) = next() {
            // Who has gone away meanwhile sends it again.
            match task {
                Task::Judge(delivery, answer) => {
                    let began = Instant::now();
                    let judged = self.judge(delivery).map(|judged| JudgedDelivery { took: began.elapsed(), ..judged });
                    let _ = answer.send(judged);
                }
                Task::Check(delivery, answer) => drop(answer.send(self.check(delivery))),
            }
        }
    }

    fn check(&mut self, delivery: Unchecked) -> Result<Checked, Refused> {
        let Unchecked { body, client, tenant } = delivery;
        let id = id_of(&[client.as_bytes(), tenant.as_deref().unwrap_or_default().as_bytes(), &body]);
        let (mut reading, mut seen) = (Reading::default(), Seen::default());
        let packed = if is_compressed(&body) {
            body.clone()
        } else {
            let wrong = |error: io::Error| Refused::TooLarge(format!("it cannot be compressed: {error}"));
            zstd::bulk::compress(&body, PACKING).map_err(wrong)?
        };
        let mut each = |record: &Record<'_>, outcome: Outcome<'_>| {
            seen.see(&outcome, &|| format!("{client}:{}", record.place));
            reading.see(record, &outcome)
        };
        let documents = read(body, self.manner.max_body, &mut self.records, &mut each)?;
        reading.end(documents)?;
        Ok(Checked { id, seen, packed })
    }

    fn judge(&mut self, delivery: Delivery) -> Answer {
        let Delivery { body, whose, input, id } = delivery;
        let Self { tenants, published, records, manner } = self;
        let rules = published.now();
        for (tenant, rules) in rules.iter().enumerate() {
            tenants.judge(tenant).give(rules);
        }
        let wanted = Wanted { ledger: manner.ledger, rejects: true, times: false };
        let origin = Origin { input: &input, whose };
        let mut judged = JudgedDelivery::new(Arc::clone(&input), rules);
        let (mut reading, mut seen) = (Reading::default(), Seen::default());
        let most = 4 * manner.max_body;
        let mut each = |record: &Record<'_>, outcome: Outcome<'_>| {
            reading.see(record, &outcome)?;
            // What was not evaluated has both in its line already.
            let known = match &outcome {
                Outcome::Evaluated(event) if manner.ledger => {
                    Some((event.audit_id.as_ref().map(ToString::to_string), format!("{input}:{}", record.place)))
                }
                _ => None,
            };
            let noted = worker::note(tenants, wanted, &mut seen, origin, record, outcome);
            if let Some(noted) = noted {
                judged.take(noted, &id, known, manner.ocsf);
            }
            if judged.size > most {
                let what =
                    format!("what would be written about it is more than {most} bytes; send fewer records at a time");
                return Err(Refused::TooLarge(what));
            }
            Ok(())
        };
        let read = read(body, manner.max_body, records, &mut each);
        judged.accounts = tenants.take_accounts();
        let documents = read?;
        reading.end(documents)?;
        judged.seen = seen;
        Ok(judged)
    }
}

/// How hard deliveries are compressed that are to be stored: as fast as can be.
const PACKING: i32 = 1;

impl JudgedDelivery {
    fn new(client: Arc<str>, rules: Current) -> Self {
        Self {
            client,
            seen: Seen::default(),
            accounts: (Vec::new(), Accounting::default()),
            rules,
            alerts: Vec::new(),
            ledger: Vec::new(),
            dead_letters: Vec::new(),
            noted: Vec::new(),
            took: Duration::ZERO,
            size: 0,
        }
    }

    /// Takes what is to be written about a record; of one that was evaluated its id and its place are known besides.
    fn take(&mut self, mut noted: Noted, id: &str, known: Option<(Option<String>, String)>, wants_ocsf: bool) {
        if let Some(mut line) = noted.ledger.take() {
            if let Some((audit_id, place)) = known {
                line = line.with("audit_id", &json!(audit_id));
                // What is no one tenant's is rejected, and has its place.
                if noted.unowned.is_none() {
                    line = line.with("place", &json!(place));
                }
            }
            let line = line.with("delivery", &json!(id));
            self.size += line.len() as u64;
            self.ledger.push(Line::Numbered(line));
        }
        if let Some(line) = noted.reject.take() {
            let line = line.with("delivery", &json!(id));
            self.size += line.len() as u64;
            self.dead_letters.push(Line::Numbered(line));
        }
        if let Some(tenant) = noted.tenant {
            for verdict in &noted.verdicts {
                let Verdict::Alert(alert) = &verdict.verdict else { continue };
                let spec = verdict.package.spec();
                let finding = wants_ocsf.then(|| ocsf::finding(alert, spec, Timestamp::now()).to_string().into());
                let alerted =
                    Alerted { id: own_id(alert), tenant, ndjson: json!(alert).to_string().into(), ocsf: finding };
                self.size += (alerted.ndjson.len() + alerted.ocsf.as_deref().map_or(0, str::len)) as u64;
                self.alerts.push(alerted);
            }
        }
        let is_telling = |verdict: &portcullis::RuleVerdict| {
            !verdict.notices.is_empty() || matches!(verdict.verdict, Verdict::Fault(_))
        };
        noted.verdicts.retain(is_telling);
        if noted.unowned.is_some() || noted.wanted_networks || !noted.verdicts.is_empty() {
            self.size += 1_000;
            self.noted.push(noted);
        }
    }
}

fn own_id(alert: &Alert) -> Id {
    Id::of(&alert.alert_id).expect("an alert's id is 32 hexadecimal digits")
}
