//! Counts the instructions for a record, from its bytes to the verdicts, and compares them with `instructions.txt`.
//! Valgrind counts, so that a busy machine does not affect the result.
//!
//! ```sh
//! cargo bench --bench instructions
//! UPDATE=1 cargo bench --bench instructions   # record the counts again
//! ```
//!
//! Without valgrind or AVX2, it says so and checks nothing.

#[path = "../../cli/benches/support/records.rs"]
mod records;

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::{env, fs};

use portcullis::{Engine, Judge, Limits, RuleSet, embedded};

const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");

/// The change that is tolerated, in hundredths, because processors use different string functions.
const TOLERANCE: u64 = 5;

const RECORDS: usize = 400;

/// The clouds, and how the text of their records begins.
const CLOUDS: [(&str, &str); 3] = [("EKS", "{\"kind\""), ("AKS", "{\"time\""), ("GKE", "{\"protoPayload\"")];

fn main() -> ExitCode {
    let asked = env::args().nth(1).filter(|argument| argument != "--bench");
    if let Some(cloud) = asked {
        count(&cloud);
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed: instructions are not counted");
        return ExitCode::SUCCESS;
    }
    if !has_avx2() {
        println!("the figures are of processors with AVX2, which this one has not: instructions are not counted");
        return ExitCode::SUCCESS;
    }
    let found = CLOUDS.map(|(cloud, _)| (cloud, counted(cloud)));
    if env::var_os("UPDATE").is_some() {
        let lines = found.map(|(cloud, count)| format!("{cloud} {count}\n")).concat();
        fs::write(FIGURES, lines).expect("the figures can be written");
    }
    let figures = fs::read_to_string(FIGURES).expect("the figures are there");
    let mut code = ExitCode::SUCCESS;
    for (cloud, count) in found {
        let line = figures.lines().find_map(|line| line.strip_prefix(cloud)).expect("a figure for each cloud");
        let figure: u64 = line.trim().parse().expect("a number");
        let change = (count.cast_signed() - figure.cast_signed()) * 1000 / figure.cast_signed();
        let (sign, tenths) = (if change < 0 { '-' } else { '+' }, change.abs());
        println!("{cloud}: {count} instructions a record, {sign}{}.{} % of {figure}", tenths / 10, tenths % 10);
        if count.abs_diff(figure) * 100 > figure * TOLERANCE {
            println!(
                "{cloud}: that is more than {TOLERANCE} % apart. Where it is meant, write the figures anew: \
                 UPDATE=1 cargo bench --bench instructions"
            );
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// Returns whether the processor has AVX2. Valgrind uses it on any processor that has it.
fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Returns the number of instructions that valgrind counts for a record of a cloud.
fn counted(cloud: &str) -> u64 {
    let program = env::current_exe().expect("this program");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*judge_all*"])
        .arg(program)
        .arg(cloud)
        .output()
        .expect("valgrind starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let count: u64 = collected.and_then(|(_, count)| count.trim().parse().ok()).expect(&said);
    count / RECORDS as u64
}

/// Judges records of a cloud, after a warm-up.
fn count(cloud: &str) {
    let beginning = CLOUDS.iter().find(|(known, _)| *known == cloud).expect("a cloud").1;
    let records: Vec<String> =
        records::records(1, 10 * RECORDS).filter(|record| record.starts_with(beginning)).take(RECORDS).collect();
    assert_eq!(records.len(), RECORDS);
    let engine = Engine::new().expect("an engine");
    let rules = RuleSet::new(embedded::packages(&engine).expect("the rules")).expect("two rules");
    let mut judge = Judge::new(Arc::new(rules), Limits::default());
    // The warm-up: tables are built, rules are started, and buffers have their final size.
    warm_up(&mut judge, &records);
    judge_all(&mut judge, &records);
}

/// Calls the same function under another name, which is not counted.
fn warm_up(judge: &mut Judge, records: &[String]) {
    for record in records {
        black_box(judge.record(record.as_bytes()));
    }
}

#[inline(never)]
fn judge_all(judge: &mut Judge, records: &[String]) {
    for record in records {
        black_box(judge.record(record.as_bytes()));
    }
}
