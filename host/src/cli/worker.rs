//! Judges batches, one after the other, on a thread of its own; what is to be written about them is told in order elsewhere.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

use portcullis::read::{Record, Records};
use portcullis::{
    Accounting, Alert, Judged, Judgement, RuleVerdict, Tenants, Unnumbered, Unowned, Verdict, ledger_line, reject_line,
};
use portcullis_event::Outcome;

use super::annotated::annotated;
use super::batch::{Batch, Current, Source};
use super::seen::Seen;

/// What is to be written about records.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) ledger: bool,
    pub(super) rejects: bool,
    /// The times of events, which incidents are closed by.
    pub(super) times: bool,
}

/// How many threads judge: as many as are asked for, or one for each core.
pub(super) fn threads(asked: Option<NonZeroUsize>) -> NonZeroUsize {
    asked.or_else(|| available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

/// Ends the process with a thread that judges: others must not wait for what it never brings.
pub(super) struct EndOnPanic;

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// A worker with its judges.
pub(super) struct Worker {
    number: usize,
    tenants: Tenants,
    records: Records,
    wanted: Wanted,
}

/// A batch that has been judged.
pub(super) struct JudgedBatch {
    /// The batch's number.
    pub(super) number: u64,
    /// The rules that it was judged with.
    pub(super) rules: Current,
    /// Its bytes.
    pub(super) size: usize,
    /// Whose judges judged it, and what these have counted.
    pub(super) worker: usize,
    pub(super) accounts: (Vec<Accounting>, Accounting),
    /// The input that it is of.
    pub(super) source: Arc<Source>,
    /// What became of the records in it.
    pub(super) seen: Seen,
    /// Those of them that there is something to write about.
    pub(super) noted: Vec<Noted>,
}

/// A record that there is something to write about.
pub(super) struct Noted {
    /// Its number in the batch, from 0.
    pub(super) n: u64,
    /// Where it is; where that is of interest.
    pub(super) place: String,
    pub(super) tenant: Option<usize>,
    pub(super) ledger: Option<Unnumbered>,
    pub(super) reject: Option<Unnumbered>,
    /// The time of its event, if it was one; and if it has one.
    #[expect(clippy::option_option, reason = "an event without a time is not no event")]
    pub(super) time: Option<Option<String>>,
    pub(super) unowned: Option<Unowned>,
    /// Alerts, faults, and what an operator must hear.
    pub(super) verdicts: Vec<RuleVerdict>,
    /// A rule was asked about it that would have liked to know the network of its source.
    pub(super) wanted_networks: bool,
    /// The line of the input that ends with it, with what was said about it.
    pub(super) line: Option<Vec<u8>>,
}

/// Where records come from.
#[derive(Clone, Copy)]
pub(super) struct Origin<'o> {
    /// The name of the input.
    pub(super) input: &'o str,
    /// Whose they are; without it, whose claim holds.
    pub(super) whose: Option<usize>,
}

impl Noted {
    /// Of a line about which there is nothing else to write.
    fn of_line(n: u64) -> Self {
        Self {
            n,
            place: String::new(),
            tenant: None,
            ledger: None,
            reject: None,
            time: None,
            unowned: None,
            verdicts: Vec::new(),
            wanted_networks: false,
            line: None,
        }
    }

    fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.verdicts.iter().filter_map(|verdict| match &verdict.verdict {
            Verdict::Alert(alert) => Some(&**alert),
            _ => None,
        })
    }
}

impl Worker {
    pub(super) fn new(number: usize, tenants: Tenants, wanted: Wanted) -> Self {
        Self { number, tenants, records: Records::default(), wanted }
    }

    pub(super) fn judge(&mut self, batch: &Batch) -> JudgedBatch {
        let Self { number: worker, tenants, records, wanted } = self;
        for (tenant, rules) in batch.rules.iter().enumerate() {
            tenants.judge(tenant).give(rules);
        }
        let rules = Arc::clone(&batch.rules);
        let (mut seen, mut noted) = (Seen::default(), Vec::new());
        let origin = Origin { input: &batch.source.name, whose: None };
        for document in batch.documents() {
            let line = document.bytes;
            let document = if batch.lines { document.trimmed() } else { document };
            let before = noted.len();
            let done = records.for_each(&document, &mut |record, outcome| {
                noted.extend(note(tenants, *wanted, &mut seen, origin, record, outcome));
                Ok::<(), std::convert::Infallible>(())
            });
            let Ok(()) = done;
            if batch.lines {
                let alerts: Vec<&Alert> = noted[before..].iter().flat_map(Noted::alerts).collect();
                let annotated = if alerts.is_empty() { None } else { annotated(document.bytes, &alerts) };
                let line = annotated.map_or_else(|| line.to_vec(), String::into_bytes);
                if noted.len() == before {
                    noted.push(Noted::of_line(seen.records));
                }
                if let Some(last) = noted.last_mut() {
                    last.line = Some(line);
                }
            }
        }
        JudgedBatch {
            number: batch.number,
            rules,
            size: batch.size(),
            worker: *worker,
            accounts: tenants.take_accounts(),
            source: Arc::clone(&batch.source),
            seen,
            noted,
        }
    }
}

/// Judges the next record of some, and notes what is to be written about it.
pub(super) fn note(
    tenants: &mut Tenants,
    wanted: Wanted,
    seen: &mut Seen,
    origin: Origin<'_>,
    record: &Record<'_>,
    outcome: Outcome<'_>,
) -> Option<Noted> {
    let Origin { input, whose } = origin;
    let n = seen.records;
    let place = || format!("{input}:{}", record.place);
    seen.see(&outcome, &place);
    let time = match &outcome {
        Outcome::Evaluated(event) if wanted.times => Some(event.event_time.as_ref().map(ToString::to_string)),
        _ => None,
    };
    let Judged { tenant, judgement } = match whose {
        Some(tenant) => tenants.outcome_of(tenant, outcome),
        None => tenants.outcome(outcome, record.bytes, input),
    };
    let owner = tenant.map(|tenant| tenants.all()[tenant].0.tenant());
    let ledger = wanted.ledger.then(|| ledger_line(&place, owner, record.bytes, &judgement));
    let reject = if wanted.rejects { reject_line(&place, owner, record.bytes, &judgement) } else { None };
    let (unowned, verdicts) = match judgement {
        Judgement::Unowned(unowned) => (Some(unowned), Vec::new()),
        Judgement::Evaluated { verdicts, .. } => (None, verdicts.into_asked()),
        Judgement::Ignored(_) | Judgement::Rejected(_) => (None, Vec::new()),
    };
    let verdicts: Vec<RuleVerdict> = verdicts.into_iter().filter(is_telling).collect();
    let wanted_networks = tenant.is_some_and(|tenant| tenants.judge(tenant).take_wanted_networks());
    if let Some(tenant) = tenant {
        seen.see_blind(tenant, tenants.judge(tenant).take_blind(), &place);
    }
    let is_placed = unowned.is_some() || !verdicts.is_empty() || wanted_networks;
    let is_noted = is_placed || ledger.is_some() || reject.is_some() || time.is_some();
    is_noted.then(|| Noted {
        n,
        place: if is_placed { place() } else { String::new() },
        tenant,
        ledger,
        reject,
        time,
        unowned,
        verdicts,
        wanted_networks,
        line: None,
    })
}

/// Whether there is something to say besides that it was counted.
fn is_telling(verdict: &RuleVerdict) -> bool {
    !verdict.notices.is_empty() || matches!(verdict.verdict, Verdict::Alert(_) | Verdict::Fault(_))
}
