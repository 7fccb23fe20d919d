//! Measures how long each engine takes for the same records, and compares every verdict.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use portcullis_event::{Buffers, normalize};

use crate::engines::{Entry, Input, PORTCULLIS};
use crate::verdicts::{RULES, Verdicts};
use crate::workload::Workload;

/// Number of rounds. Each round judges all records; the median round counts.
const ROUNDS: usize = 5;

/// Number of records that one engine judges before the next engine's turn, so that a slow moment of the machine affects
/// all engines.
const CHUNK: usize = 1000;

/// The results of the comparison.
pub(crate) struct Results {
    /// A row for each engine, fastest first.
    pub rows: Vec<Row>,
    /// Number of records.
    pub records: usize,
    /// Microseconds that normalizing takes per record.
    pub normalizing: f64,
    /// Number of alerts of each rule.
    pub alerts: [usize; RULES.len()],
}

/// The result of one engine.
pub(crate) struct Row {
    pub name: &'static str,
    pub version: String,
    pub input: Input,
    /// Time per record.
    pub microseconds: f64,
    /// Ratio of the time to Portcullis's time.
    pub ratio: f64,
}

impl Row {
    /// Whether this is the engine that the others are compared with.
    pub(crate) fn is_portcullis(&self) -> bool {
        self.name == PORTCULLIS
    }
}

/// Runs all rounds. Portcullis is the first of the entries.
pub(crate) fn measure(entries: &mut [Entry], workload: &Workload) -> Result<Results> {
    let mut times = vec![Vec::new(); entries.len()];
    let mut normalizing = Vec::new();
    let mut alerts = [0; RULES.len()];
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        let mut sums = vec![Duration::ZERO; entries.len()];
        let mut normalizing_sum = Duration::ZERO;
        alerts = [0; RULES.len()];
        for from in (0..workload.len()).step_by(CHUNK) {
            let raw = workload.raw.slice(from, CHUNK);
            let mut expected = Vec::new();
            for (entry, sum) in entries.iter_mut().zip(&mut sums) {
                let records = entry.input.of(workload).slice(from, CHUNK);
                // A first pass, which is not measured: the caches hold the previous engine's data. An engine that runs
                // alone has its own data there.
                let _ = entry.engine.judge_all(&records).context(entry.name)?;
                let judged = entry.engine.judge_all(&records).context(entry.name)?;
                *sum += judged.time;
                if expected.is_empty() {
                    expected = judged.verdicts;
                } else {
                    compare(entry.name, &judged.verdicts, &expected, &raw)?;
                }
            }
            for (rule, alerts) in alerts.iter_mut().enumerate() {
                *alerts += expected.iter().filter(|verdicts| verdicts.0[rule]).count();
            }
            normalize_all(&raw);
            normalizing_sum += normalize_all(&raw);
        }
        for (times, sum) in times.iter_mut().zip(sums) {
            times.push(sum);
        }
        normalizing.push(normalizing_sum);
    }
    let medians: Vec<f64> = times.into_iter().map(|times| median(times, workload)).collect();
    let rows = entries.iter().zip(&medians).map(|(entry, microseconds)| Row {
        name: entry.name,
        version: entry.version.clone(),
        input: entry.input,
        microseconds: *microseconds,
        ratio: microseconds / medians[0],
    });
    let mut rows: Vec<Row> = rows.collect();
    rows.sort_by(|a, b| a.microseconds.total_cmp(&b.microseconds));
    Ok(Results { rows, records: workload.len(), normalizing: median(normalizing, workload), alerts })
}

/// Checks that all engines have the same verdicts on these records, without measuring.
pub(crate) fn check_agreement(entries: &mut [Entry], workload: &Workload) -> Result<()> {
    let mut expected = None;
    for entry in entries {
        let judged = entry.engine.judge_all(&entry.input.of(workload).all()).context(entry.name)?;
        let expected = expected.get_or_insert_with(|| judged.verdicts.clone());
        compare(entry.name, &judged.verdicts, expected, &workload.raw.all())?;
    }
    Ok(())
}

/// Fails with the first record on which an engine differs from Portcullis.
fn compare(name: &str, verdicts: &[Verdicts], expected: &[Verdicts], records: &[&str]) -> Result<()> {
    ensure!(verdicts.len() == expected.len(), "{name} judged {} records of {}", verdicts.len(), expected.len());
    for ((found, expected), record) in verdicts.iter().zip(expected).zip(records) {
        ensure!(found == expected, "{name} found {found}, but Portcullis found {expected} in this record: {record}");
    }
    Ok(())
}

/// Normalizes the records, and returns the time. Engines that read normalized events are spared this work.
fn normalize_all(records: &[&str]) -> Duration {
    let mut buffers = Buffers::default();
    let begun = Instant::now();
    for record in records {
        black_box(normalize(record.as_bytes(), &mut buffers));
    }
    begun.elapsed()
}

/// Returns the microseconds per record in the median round.
fn median(mut times: Vec<Duration>, workload: &Workload) -> f64 {
    times.sort();
    #[expect(clippy::cast_precision_loss, reason = "the number of records is far below 2^52")]
    let records = workload.len() as f64;
    times[times.len() / 2].as_secs_f64() * 1e6 / records
}
