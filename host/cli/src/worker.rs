//! Workers: each judges batches on a thread of its own. The reorder buffer writes the results.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis::read::Records;
use portcullis::report::{Origin, Outcomes, RecordReport, ReportOptions, judge_record};
use portcullis::rule_set::RuleSets;
use portcullis::{Accounting, Alert, Tenants};

use crate::annotate::annotated;
use crate::batch::{Batch, Source};

/// A worker with its judges.
pub(crate) struct Worker {
    number: usize,
    tenants: Tenants,
    records: Records,
    options: ReportOptions,
    /// Counts the records that it judges.
    steps: Arc<AtomicU64>,
}

/// Number of bytes to write at which the results of a batch are handed over in parts, so that memory is bounded
/// whatever a rule answers. In a line that is written again with its alerts, they stay together.
const PART: usize = 1 << 20;

/// A batch that was judged, or a part of it.
pub(crate) struct JudgedBatch {
    /// The batch's number.
    pub(crate) number: u64,
    /// Whether no other part follows.
    pub(crate) is_last: bool,
    /// The approximate number of bytes to write.
    pub(crate) results: usize,
    /// The rules that judged it.
    pub(crate) rules: RuleSets,
    /// The number of bytes of the whole batch.
    pub(crate) size: usize,
    /// The number of the worker.
    pub(crate) worker: usize,
    /// The counts of its records: by tenant, and of unclaimed records.
    pub(crate) accounts: (Vec<Accounting>, Accounting),
    /// The input of its documents.
    pub(crate) source: Arc<Source>,
    /// The outcomes of its records.
    pub(crate) outcomes: Outcomes,
    /// The entries to write, in order.
    pub(crate) entries: Vec<Entry>,
}

/// What was judged of a batch since the last part was handed over.
#[derive(Default)]
struct Part {
    outcomes: Outcomes,
    entries: Vec<Entry>,
    /// The approximate number of bytes to write.
    results: usize,
}

/// An entry to write.
pub(crate) enum Entry {
    /// The report on a record.
    Report(Box<RecordReport>),
    /// A line of the input, with the alerts of its records.
    Line(Vec<u8>),
}

impl Worker {
    pub(crate) fn new(number: usize, tenants: Tenants, options: ReportOptions, steps: Arc<AtomicU64>) -> Self {
        Self { number, tenants, records: Records::default(), options, steps }
    }

    /// Judges a batch, and hands over the results in parts.
    pub(crate) fn judge(&mut self, batch: &Batch, hand_over: &mut dyn FnMut(JudgedBatch)) {
        let Self { number: worker, tenants, records, options, steps } = self;
        for (tenant, rules) in batch.rules.iter().enumerate() {
            tenants.judge(tenant).set_rules(rules);
        }
        let rules = Arc::clone(&batch.rules);
        let mut part = Part::default();
        let mut end = |part: &mut Part, tenants: &mut Tenants, is_last| {
            let Part { outcomes, entries, results } = std::mem::take(part);
            hand_over(JudgedBatch {
                number: batch.number,
                is_last,
                results,
                rules: Arc::clone(&rules),
                size: batch.size(),
                worker: *worker,
                accounts: tenants.take_accounts(),
                source: Arc::clone(&batch.source),
                outcomes,
                entries,
            });
        };
        let origin = Origin { input: &batch.source.name, tenant: None, batch: None };
        for document in batch.documents() {
            let line = document.bytes;
            let document = if batch.lines { document.trimmed() } else { document };
            let before = part.entries.len();
            let done = records.for_each(&document, &mut |record, outcome| {
                let report = judge_record(tenants, *options, &mut part.outcomes, origin, record, outcome);
                steps.fetch_add(1, Ordering::Relaxed);
                part.results += report.as_ref().map_or(0, RecordReport::size);
                part.entries.extend(report.map(Box::new).map(Entry::Report));
                if part.results > PART && !batch.lines {
                    end(&mut part, tenants, false);
                }
                Ok::<(), Infallible>(())
            });
            let Ok(()) = done;
            if batch.lines {
                let alerts: Vec<&Alert> = part.entries[before..].iter().flat_map(Entry::alerts).collect();
                let annotated = if alerts.is_empty() { None } else { annotated(document.bytes, &alerts) };
                let line = annotated.map_or_else(|| line.to_vec(), String::into_bytes);
                part.results += line.len();
                part.entries.push(Entry::Line(line));
                if part.results > PART {
                    end(&mut part, tenants, false);
                }
            }
        }
        end(&mut part, tenants, true);
    }
}

impl Entry {
    fn alerts(&self) -> impl Iterator<Item = &Alert> {
        let report = match self {
            Self::Report(report) => Some(report),
            Self::Line(_) => None,
        };
        report.into_iter().flat_map(|report| report.alerts())
    }
}
