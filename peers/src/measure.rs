//! The contest: who takes how long for the same records, with every verdict compared.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use portcullis_event::{Buffers, normalize};

use crate::engines::{Contestant, Given, PORTCULLIS};
use crate::verdicts::{RULES, Verdicts};
use crate::work::Work;

/// All records are judged so often. The middle round counts.
const ROUNDS: usize = 5;

/// After so many records it is the next one's turn, so that a slow moment of the machine falls on all.
const TURN: usize = 1000;

/// What came of it.
pub(crate) struct Results {
    /// A row for each, the fastest first.
    pub rows: Vec<Row>,
    /// How many records there were.
    pub records: usize,
    /// What normalizing a record takes by itself.
    pub normalizing: f64,
    /// How many alerts each rule made.
    pub alerts: [usize; RULES.len()],
}

/// What came of it for one.
pub(crate) struct Row {
    pub name: &'static str,
    pub version: String,
    pub given: Given,
    /// For a record.
    pub microseconds: f64,
    /// Of Portcullis's time.
    pub times: f64,
}

impl Row {
    /// Whether it is what the others are held against.
    pub(crate) fn is_portcullis(&self) -> bool {
        self.name == PORTCULLIS
    }
}

/// Runs all rounds. Portcullis is the first of the contestants.
pub(crate) fn contest(contestants: &mut [Contestant], work: &Work) -> Result<Results> {
    let mut times = vec![Vec::new(); contestants.len()];
    let mut normalizing = Vec::new();
    let mut alerts = [0; RULES.len()];
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        let mut sums = vec![Duration::ZERO; contestants.len()];
        let mut sum_of_normalizing = Duration::ZERO;
        alerts = [0; RULES.len()];
        for from in (0..work.len()).step_by(TURN) {
            let raw = work.raw.some(from, TURN);
            let mut expected = Vec::new();
            for (contestant, sum) in contestants.iter_mut().zip(&mut sums) {
                let records = contestant.given.of(work).some(from, TURN);
                // Once before it counts: the caches hold what the one before has left, which is not what anybody's own are
                // full of.
                let _ = contestant.engine.turn(&records).context(contestant.name)?;
                let turn = contestant.engine.turn(&records).context(contestant.name)?;
                *sum += turn.time;
                if expected.is_empty() {
                    expected = turn.verdicts;
                } else {
                    compare(contestant.name, &turn.verdicts, &expected, &raw)?;
                }
            }
            for (rule, alerts) in alerts.iter_mut().enumerate() {
                *alerts += expected.iter().filter(|verdicts| verdicts.0[rule]).count();
            }
            normalize_all(&raw);
            sum_of_normalizing += normalize_all(&raw);
        }
        for (times, sum) in times.iter_mut().zip(sums) {
            times.push(sum);
        }
        normalizing.push(sum_of_normalizing);
    }
    let middles: Vec<f64> = times.into_iter().map(|times| middle(times, work)).collect();
    let rows = contestants.iter().zip(&middles).map(|(contestant, microseconds)| Row {
        name: contestant.name,
        version: contestant.version.clone(),
        given: contestant.given,
        microseconds: *microseconds,
        times: microseconds / middles[0],
    });
    let mut rows: Vec<Row> = rows.collect();
    rows.sort_by(|a, b| a.microseconds.total_cmp(&b.microseconds));
    Ok(Results { rows, records: work.len(), normalizing: middle(normalizing, work), alerts })
}

/// Whether all say the same of these records, without measuring.
pub(crate) fn agree(contestants: &mut [Contestant], work: &Work) -> Result<()> {
    let mut expected = None;
    for contestant in contestants {
        let turn = contestant.engine.turn(&contestant.given.of(work).all()).context(contestant.name)?;
        let expected = expected.get_or_insert_with(|| turn.verdicts.clone());
        compare(contestant.name, &turn.verdicts, expected, &work.raw.all())?;
    }
    Ok(())
}

/// Fails with the first record on which an engine differs from Portcullis.
fn compare(name: &str, verdicts: &[Verdicts], expected: &[Verdicts], records: &[&str]) -> Result<()> {
    ensure!(verdicts.len() == expected.len(), "{name} judged {} records of {}", verdicts.len(), expected.len());
    for ((said, expected), record) in verdicts.iter().zip(expected).zip(records) {
        ensure!(said == expected, "{name} says {said} and Portcullis says {expected} of this record: {record}");
    }
    Ok(())
}

/// What the peers that know no clouds are spared.
fn normalize_all(records: &[&str]) -> Duration {
    let mut buffers = Buffers::default();
    let begun = Instant::now();
    for record in records {
        black_box(normalize(record.as_bytes(), &mut buffers));
    }
    begun.elapsed()
}

/// Microseconds for a record in the middle round.
fn middle(mut times: Vec<Duration>, work: &Work) -> f64 {
    times.sort();
    #[expect(clippy::cast_precision_loss, reason = "nobody judges 2^52 records")]
    let records = work.len() as f64;
    times[times.len() / 2].as_secs_f64() * 1e6 / records
}
