//! Measures what changing rules costs while records flow: throughput with a new version of a rule every second, which
//! is found, checked and swapped in as with `--watch`, relative to throughput without; and the longest gap between two
//! records of each.
//!
//! ```sh
//! cargo bench --bench swap
//! ```

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis::activation::{Activator, FollowedFiles, History, Policy, RequiredChecks};
use portcullis::package::{Recipe, pack};
use portcullis::rule_set::RuleSetCell;
use portcullis::{Compiler, Engine, Judge, Limits, embedded};
use portcullis_event::{Buffers, normalize};
use semver::Version;

/// The time of one stretch.
const STRETCH: Duration = Duration::from_secs(5);

/// The number of stretches of each kind, in turns. The median counts.
const ROUNDS: usize = 5;

/// The result of a stretch.
struct Stretch {
    /// Records per second.
    rate: f64,
    /// Maximum time between two records.
    gap: Duration,
}

/// Judges records for a while, as `run` does between reading and writing.
fn judge(judge: &mut Judge, records: &[&[u8]]) -> Stretch {
    let (begun, mut buffers, mut judged) = (Instant::now(), Buffers::default(), 0_u32);
    let (mut last, mut gap) = (begun, Duration::ZERO);
    while last.duration_since(begun) < STRETCH {
        let record = records[judged as usize % records.len()];
        judge.outcome(normalize(record, &mut buffers));
        judged += 1;
        let now = Instant::now();
        gap = gap.max(now.duration_since(last));
        last = now;
    }
    Stretch { rate: f64::from(judged) / begun.elapsed().as_secs_f64(), gap }
}

fn main() {
    let engine = Engine::new().expect("an engine");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = embedded::packages(&engine).expect("the rules");
    for package in &rules {
        fs::write(folder.path().join(package.file_name()), package.bytes()).expect("written");
    }
    let program = env!("CARGO_BIN_EXE_portcullis").into();
    let mut activator = Activator::new(Arc::<History>::default(), RequiredChecks::TestCases, Timestamp::now, |_| {});
    let store = activator.add_store(vec![folder.path().to_owned()], Compiler::new(engine.clone()).in_child_of(program));
    let tenant = activator.add_tenant("default".into(), store, Policy::default(), Limits::default());
    activator.start_strictly().expect("the rules are good");
    let cell = activator.cell(tenant);
    let watched = FollowedFiles { stores: true, ..FollowedFiles::default() };
    let _control = activator.run(watched, Box::new(|| Ok(Vec::new()))).expect("a thread");

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/parity/events.ndjson");
    let bytes = fs::read(file).expect("the corpus");
    let records: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let mut judging = Judge::builder(Limits::default()).following(Arc::clone(&cell)).build();
    judge(&mut judging, &records);

    let next = AtomicU64::new(1);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(judge(&mut judging, &records));
        with.push(std::thread::scope(|scope| {
            let changing = scope.spawn(|| change(folder.path(), &next, rules[1].bytes(), &cell));
            let stretch = judge(&mut judging, &records);
            changing.join().expect("no panic");
            stretch
        }));
    }
    let swaps = next.into_inner() - 1;
    println!(
        "{swaps} versions in {} s, each found, compiled, proved by its test cases and swapped in",
        STRETCH.as_secs() * ROUNDS as u64
    );
    let (rate_without, rate_with) = (middle_rate(&without), middle_rate(&with));
    println!("throughput with a swap a second / without: {:.3}", rate_with / rate_without);
    for (kind, stretches) in [("without", &without), ("with", &with)] {
        let mut gaps: Vec<Duration> = stretches.iter().map(|stretch| stretch.gap).collect();
        gaps.sort();
        println!(
            "longest gap between two records, {kind}: {:?} in the middle, {:?} at most",
            gaps[ROUNDS / 2],
            gaps[ROUNDS - 1]
        );
    }
}

/// Puts a new version into the folder every second, removes the previous one, and waits until the last one is active.
fn change(folder: &Path, next: &AtomicU64, package: &[u8], cell: &RuleSetCell) {
    let begun = Instant::now();
    let mut generation = 0;
    cell.newer(&mut generation);
    while begun.elapsed() + Duration::from_secs(1) <= STRETCH {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let version = Version::new(1, 0, number);
        let recipe = Recipe { version: Some(&version), ..Recipe::default() };
        let bytes = pack(package, "benchmark", &recipe).expect("a package").bytes;
        let (part, file) = (folder.join("part"), folder.join(format!("version-{number}.wasm")));
        fs::write(&part, bytes).and_then(|()| fs::rename(part, file)).expect("written");
        let _ = fs::remove_file(folder.join(format!("version-{}.wasm", number - 1)));
        std::thread::sleep(Duration::from_secs(1));
        assert!(cell.newer(&mut generation).is_some(), "version {version} is not active within a second");
    }
}

fn middle_rate(stretches: &[Stretch]) -> f64 {
    let mut rates: Vec<f64> = stretches.iter().map(|stretch| stretch.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates[ROUNDS / 2]
}
