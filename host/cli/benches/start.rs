//! Measures what starting costs: the command from its start to the first verdict, with and without a cache of native
//! code; an instance of a rule; one call; and the time and memory of each of many packages.
//!
//! ```sh
//! cargo bench --bench start
//! ```

#[path = "support/memory.rs"]
mod memory;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../../tests/support/packages.rs"]
mod packages;
#[path = "support/records.rs"]
mod records;
#[path = "support/rounds.rs"]
mod rounds;
#[expect(dead_code, reason = "the other benchmarks use the rest")]
#[path = "support/rules.rs"]
mod rules;

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use memory::resident;
use portcullis::package::Cache;
use portcullis::sandbox::Sandbox;
use portcullis::{Compiler, Engine, Judge, Limits, Package, RuleSet, embedded};
use portcullis_event::{Buffers, Outcome, normalize};
use rounds::{Turn, take_turns};
use rules::other;

const ROUNDS: usize = 21;

/// The number of packages in the large rule set.
const MANY: u32 = 200;

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = Engine::new().expect("an engine");
    let rules = embedded::packages(&engine).expect("the rules");
    commands(folder.path());
    calls(&rules);
    bare_call(&engine);
    many_packages(&engine, &rules[0], folder.path());
}

/// Measures the command on one record that alerts.
fn commands(folder: &Path) {
    let record =
        records::records(1, 10_000).find(|record| record.contains("\"type\":\"NodePort\"")).expect("one alerts");
    let input = folder.join("record.json");
    fs::write(&input, record).expect("written");
    let run = |more: &[&std::ffi::OsStr]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        let output = command.arg("run").arg(&input).arg("--quiet").args(more).stderr(Stdio::null()).output();
        assert!(!output.expect("it starts").stdout.is_empty(), "the record alerts");
    };
    let cache = folder.join("cache");
    let mut turns = [
        Turn::new("the process alone", || {
            let output = Command::new(env!("CARGO_BIN_EXE_portcullis")).arg("--version").output();
            assert!(output.expect("it starts").status.success());
        }),
        Turn::new("first verdict, compiling", || run(&[])),
        Turn::new("first verdict, from the cache", || run(&["--cache".as_ref(), cache.as_os_str()])),
    ];
    take_turns(ROUNDS, &mut turns);
    println!("from the start of the process to its end after the first verdict:");
    for turn in &turns {
        println!("{:<30} {:>8.2} ms", turn.name(), turn.best() * 1e3);
    }
    println!("{:<30} {:>8.3}\n", "cache / compiling", turns[2].over(&turns[1]));
}

/// Measures an instance and a call of each rule, on an event that it matches.
fn calls(rules: &[Package]) {
    const TIMES: u32 = 2_000;
    let records: Vec<String> = records::records(1, 2_000).collect();
    for package in rules {
        let mut buffers = Buffers::default();
        let json = records.iter().find_map(|record| match normalize(record.as_bytes(), &mut buffers) {
            Outcome::Evaluated(event) if package.prefilter().first_miss(&event).is_none() => {
                Some(serde_json::to_string(&event).expect("an event is JSON"))
            }
            _ => None,
        });
        let json = json.expect("a record that it matches");
        let mut lasting = Sandbox::new(package.clone(), Limits { events_per_instance: u32::MAX, ..Limits::default() });
        let mut fresh = Sandbox::new(package.clone(), Limits { events_per_instance: 1, ..Limits::default() });
        let evaluate = |sandbox: &mut Sandbox| {
            for _ in 0..TIMES {
                assert!(black_box(sandbox.evaluate(&json)).expect("an answer").is_some());
            }
        };
        let again = evaluate;
        let mut turns = [
            Turn::new("one call", move || evaluate(&mut lasting)),
            Turn::new("one call in a fresh instance", move || again(&mut fresh)),
        ];
        take_turns(ROUNDS, &mut turns);
        println!("{}, on an event of {} bytes:", package.rule_id(), json.len());
        for turn in &turns {
            println!("{:<30} {:>8.2} µs", turn.name(), turn.best() * 1e6 / f64::from(TIMES));
        }
        println!("{:<30} {:>8.3}\n", "fresh instance / call", turns[1].over(&turns[0]));
    }
}

/// Measures a call of a rule that does nothing.
fn bare_call(engine: &Engine) {
    const TIMES: u32 = 100_000;
    let bytes = packages::version("1.0.0", packages::Does::Nothing);
    let package = Package::load(engine, &bytes, "nothing").expect("a package");
    let mut sandbox = Sandbox::new(package, Limits { events_per_instance: u32::MAX, ..Limits::default() });
    let json = "x".repeat(1_000);
    let mut turns = [Turn::new("a call that does nothing", || {
        for _ in 0..TIMES {
            assert!(black_box(sandbox.evaluate(&json)).expect("an answer").is_none());
        }
    })];
    take_turns(ROUNDS, &mut turns);
    println!("{:<30} {:>8.2} µs\n", turns[0].name(), turns[0].best() * 1e6 / f64::from(TIMES));
}

/// Measures many rules with a component each: compiled, from the cache, and judging.
fn many_packages(engine: &Engine, like: &Package, folder: &Path) {
    let files: Vec<Vec<u8>> = (0..MANY as usize).map(|number| other(like, number, None)).collect();
    let compiler = Compiler::new(engine.clone()).with_cache(Some(Cache::open(&folder.join("many")).expect("a cache")));
    let load = || files.iter().map(|bytes| compiler.package(bytes, "another").expect("a package")).collect::<Vec<_>>();
    println!("each of {MANY} packages of {} KB:", files[0].len() / 1000);
    let each = |what: &str, begun: Instant| {
        println!("{what:<30} {:>8.2} ms", begun.elapsed().as_secs_f64() * 1e3 / f64::from(MANY));
    };
    let begun = Instant::now();
    drop(load());
    each("compiled, on all processors", begun);
    let (begun, before) = (Instant::now(), resident());
    let packages = load();
    each("from the cache", begun);
    println!("{:<30} {:>8} KB", "memory", (resident() - before) / u64::from(MANY));
    let mut judge = Judge::new(Arc::new(RuleSet::new(packages).expect("one of each")), Limits::default());
    let before = resident();
    let record = records::records(1, 1_000)
        .find(|record| record.contains("\"type\":\"NodePort\"") && record.starts_with("{\"kind\""));
    let begun = Instant::now();
    black_box(judge.record(record.expect("one that alerts").as_bytes()));
    each("instance and first verdict", begun);
    println!("{:<30} {:>8} KB", "memory of an instance", (resident() - before) / u64::from(MANY));
}
