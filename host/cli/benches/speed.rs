//! Measures what a record costs on one core, from bytes to verdicts, and compares: all of it with simd-json's tape
//! alone; rules in their sandbox with the same crates called natively; a thousand rules with two; a rule without a
//! prefilter with the same rule with one.
//!
//! ```sh
//! cargo bench --bench speed
//! ```

#[path = "support/records.rs"]
mod records;
#[path = "support/rounds.rs"]
mod rounds;
#[path = "support/rules.rs"]
mod rules;

use std::hint::black_box;
use std::sync::Arc;

use nodeport_service::NodePortService;
use portcullis::package::{Recipe, pack};
use portcullis::read::{Documents, Records};
use portcullis::sandbox::Sandbox;
use portcullis::{Accounting, Engine, Judge, Judgement, Limits, Package, RuleSet, Verdict, embedded};
use portcullis_event::{Buffers, Outcome, normalize};
use portcullis_rule::Rule as _;
use rounds::{Turn, take_turns};
use rules::others;
use system_principal_public_ip::SystemPrincipalPublicIp;

/// The number of records, which are read again and again. More than a core's own cache can hold would measure memory.
const RECORDS: usize = 800;

/// The seed of the records. Five in a thousand of them alert, as with every seed.
const SEED: u64 = 2;

/// The number of passes in one turn.
const TIMES: usize = 12;

/// The number of records in one turn.
#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
const RECORDS_A_TURN: f64 = (RECORDS * TIMES) as f64;

const ROUNDS: usize = 31;

/// The number of rules in the large rule set.
const MANY: usize = 1000;

fn main() {
    let records: Vec<String> = records::records(SEED, RECORDS).collect();
    let lines = records.join("\n");
    let engine = Engine::new().expect("an engine");
    let two = embedded::packages(&engine).expect("the rules");
    let many = two.iter().cloned().chain(others(&engine, &two[0], MANY - two.len())).collect();
    let set = |packages: Vec<Package>| Arc::new(RuleSet::new(packages).expect("one of each"));
    let open = without_prefilter(&engine, &two[1]);
    let packages = two.clone();
    let open = set(vec![two[0].clone(), open]);
    let (two, many) = (set(two), set(many));
    println!("{RECORDS} records of {} bytes on average, {ROUNDS} rounds\n", lines.len() / RECORDS);

    let judge = |rules: &Arc<RuleSet>| Judge::new(Arc::clone(rules), Limits::default());
    let mut alerts = [0; 6];
    let [natively, in_boxes, with_two, with_many, with_open, whole] = &mut alerts;
    let (mut judge_two, mut judge_all) = (judge(&two), judge(&two));
    let (mut judge_many, mut judge_open) = (judge(&many), judge(&open));
    let mut sandboxes: Vec<Sandbox> =
        packages.iter().map(|package| Sandbox::new(package.clone(), Limits::default())).collect();
    let (mut buffers, mut native_buffers, mut sandbox_buffers) = Default::default();
    let mut tape = simd_json::Buffers::default();
    let mut copy = Vec::new();
    let mut turns = [
        Turn::new("simd-json's tape", || {
            each(&records, |record| {
                // simd-json changes its input.
                copy.clear();
                copy.extend_from_slice(record);
                black_box(simd_json::to_tape_with_buffers(&mut copy, &mut tape).expect("JSON"));
            });
        }),
        Turn::new("normalize", || {
            each(&records, |record| drop(black_box(normalize(record, &mut buffers))));
        }),
        Turn::new("native rules", || {
            each(&records, |record| *natively += native(record, &mut native_buffers));
        }),
        Turn::new("sandboxed rules", || {
            each(&records, |record| {
                *in_boxes += in_sandboxes(record, &mut sandbox_buffers, &packages, &mut sandboxes);
            });
        }),
        Turn::new("judged by 2 rules", || each(&records, |record| *with_two += judged(&mut judge_two, record))),
        Turn::new("judged by 1,000 rules", || each(&records, |record| *with_many += judged(&mut judge_many, record))),
        Turn::new("one without a prefilter", || each(&records, |record| *with_open += judged(&mut judge_open, record))),
        Turn::new("bytes to verdicts", || {
            for _ in 0..TIMES {
                *whole += read(lines.as_bytes(), &mut judge_all);
            }
        }),
    ];
    take_turns(ROUNDS, &mut turns);

    for turn in &turns {
        println!("{:<24} {:>7.3} µs a record", turn.name(), turn.best() * 1e6 / RECORDS_A_TURN);
    }
    let [tape, normalize, native, in_boxes, two, many, open, whole] = &turns;
    println!();
    for (ratio, value) in [
        ("sandbox / native", in_boxes.over(native)),
        ("1,000 rules / 2 rules", many.over(two)),
        ("no prefilter / prefilter", open.over(two)),
        ("normalize / parse alone", normalize.over(tape)),
        ("total / parse alone", whole.over(tape)),
    ] {
        println!("{ratio:<24} {value:.3}");
    }
    drop(turns);
    assert!(alerts.iter().all(|count| *count == alerts[0] && *count > 0), "all ways alert alike: {alerts:?}");
}

fn each(records: &[String], mut judge: impl FnMut(&[u8])) {
    for _ in 0..TIMES {
        for record in records {
            judge(record.as_bytes());
        }
    }
}

/// Returns the number of alerts on a record, from the rules as plain functions.
fn native(record: &[u8], buffers: &mut Buffers) -> u64 {
    let Outcome::Evaluated(event) = normalize(record, buffers) else { return 0 };
    let alerts = [NodePortService::evaluate(&event), SystemPrincipalPublicIp::evaluate(&event)];
    let mut count = 0;
    for alert in alerts.into_iter().flatten() {
        black_box(alert.context());
        count += 1;
    }
    count
}

/// Returns the number of alerts on a record, from the rules in their sandboxes, if their prefilters let the event
/// through. An instance serves 256 events.
fn in_sandboxes(record: &[u8], buffers: &mut Buffers, packages: &[Package], sandboxes: &mut [Sandbox]) -> u64 {
    let Outcome::Evaluated(event) = normalize(record, buffers) else { return 0 };
    let mut count = 0;
    for (package, sandbox) in packages.iter().zip(sandboxes) {
        if package.prefilter().first_miss(&event).is_none() {
            let json = serde_json::to_string(&event).expect("an event is JSON");
            count += u64::from(sandbox.evaluate(&json).expect("an answer").is_some());
        }
    }
    count
}

/// Returns the number of alerts on a record.
fn judged(judge: &mut Judge, record: &[u8]) -> u64 {
    alerts(&judge.record(record))
}

fn alerts(judgement: &Judgement) -> u64 {
    let Judgement::Evaluated { verdicts, .. } = judgement else { return 0 };
    verdicts.judged().iter().filter(|verdict| matches!(verdict.verdict, Verdict::Alert(_))).count() as u64
}

/// Returns the number of alerts of an input, with its account.
fn read(input: &[u8], judge: &mut Judge) -> u64 {
    let mut accounting = Accounting::new(judge.rules());
    let (mut documents, mut records) = (Documents::new(input), Records::default());
    let mut count = 0;
    while let Some(document) = documents.next_document().expect("it is in memory") {
        let judged = records.for_each(&document, &mut |_, outcome| {
            let judgement = judge.outcome(outcome);
            accounting.count(&judgement);
            count += alerts(&judgement);
            Ok::<(), ()>(())
        });
        judged.expect("nothing fails");
    }
    count
}

/// Returns a rule without its prefilter, so that it is shown every event.
fn without_prefilter(engine: &Engine, package: &Package) -> Package {
    let recipe = Recipe { prefilter: Some(&serde_json::Map::new()), ..Recipe::default() };
    let packed = pack(package.bytes(), "open", &recipe).expect("a package");
    Package::load(engine, &packed.bytes, "without a prefilter").expect("a package")
}
