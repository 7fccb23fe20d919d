//! Compares what the rule of a package costs with the embedded rule of the same id: a call, an instance, its memory.
//!
//! ```sh
//! cargo run --release --example costs -- My.Rule@1.0.0.wasm
//! ```

#[path = "../benches/support/records.rs"]
mod records;
#[path = "../benches/support/rounds.rs"]
mod rounds;

use std::fs;
use std::hint::black_box;
use std::time::Duration;

use portcullis::sandbox::Sandbox;
use portcullis::{Compiler, Engine, Limits, Package, PackageLimits, TenantLimits, embedded};
use portcullis_event::{Buffers, Outcome, normalize};
use rounds::{Turn, take_turns};

const ROUNDS: usize = 11;
const TIMES: u32 = 100;
const INSTANCES: u32 = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file] = &arguments[..] else {
        eprintln!("usage: costs PACKAGE");
        std::process::exit(2);
    };
    let limits = generous();
    let engine = Engine::with_stack(limits.stack).expect("an engine");
    let package = load(&engine, file, &limits);
    let embedded = embedded::packages(&engine).expect("the embedded rules");
    let like =
        embedded.into_iter().find(|rule| rule.rule_id() == package.rule_id()).expect("an embedded rule of its id");

    let events = events(&package, limits.limits);
    for (what, json) in [("alerts", &events[0]), ("does not match", &events[1])] {
        let Some(json) = json else { continue };
        let lasting =
            |package: &Package| calls(package, Limits { events_per_instance: u32::MAX, ..limits.limits }, json);
        let fresh = |package: &Package| calls(package, Limits { events_per_instance: 1, ..limits.limits }, json);
        let mut turns = [
            Turn::new("one call", lasting(&package)),
            Turn::new("one call, embedded", lasting(&like)),
            Turn::new("in a fresh instance", fresh(&package)),
            Turn::new("in a fresh instance, embedded", fresh(&like)),
        ];
        take_turns(ROUNDS, &mut turns);
        println!("on an event of {} bytes that {what}:", json.len());
        for turn in &turns {
            println!("{:<30} {:>10.2} µs", turn.name(), turn.best() * 1e6 / f64::from(TIMES));
        }
        println!("{:<30} {:>10.1}", "call / embedded", turns[0].over(&turns[1]));
        println!("{:<30} {:>10.1}", "fresh instance / embedded", turns[2].over(&turns[3]));
    }
    println!("resident, of an instance that has answered once:");
    let json = events.iter().flatten().next().expect("an event that it is shown");
    for (what, package) in [("the package", &package), ("embedded", &like)] {
        let before = resident();
        let instances: Vec<Sandbox> = (0..INSTANCES)
            .map(|_| {
                let mut sandbox =
                    Sandbox::new(package.clone(), Limits { events_per_instance: u32::MAX, ..limits.limits });
                black_box(sandbox.evaluate(json)).expect("an answer");
                sandbox
            })
            .collect();
        println!("{what:<30} {:>10} KB", (resident() - before) / u64::from(INSTANCES));
        drop(instances);
    }
}

/// Returns limits that suit a rule of any language, because this measures what the rule takes.
fn generous() -> TenantLimits {
    TenantLimits {
        limits: Limits { time: Duration::from_secs(10), memory: 256 << 20, ..Limits::default() },
        stack: 2 << 20,
        package: PackageLimits {
            size: 64 << 20,
            functions: 1_000_000,
            function_size: 7 << 20,
            locals: 50_000,
            compile_seconds: 3_600,
            compile_memory: 8 << 30,
        },
    }
}

fn load(engine: &Engine, file: &str, limits: &TenantLimits) -> Package {
    let bytes = fs::read(file).expect("a package");
    Compiler::new(engine.clone()).with_limits(limits.package).package(&bytes, file).expect("a package")
}

/// Returns two of the benchmarks' events that the rule is shown: one that alerts and one that does not.
fn events(package: &Package, limits: Limits) -> [Option<String>; 2] {
    let mut found = [None, None];
    let mut buffers = Buffers::default();
    let mut sandbox = Sandbox::new(package.clone(), limits);
    for record in records::records(1, 20_000) {
        let Outcome::Evaluated(event) = normalize(record.as_bytes(), &mut buffers) else { continue };
        if package.prefilter().first_miss(&event).is_some() {
            continue;
        }
        let json = serde_json::to_string(&event).expect("an event is JSON");
        let alerts = sandbox.evaluate(&json).expect("an answer").is_some();
        found[usize::from(!alerts)].get_or_insert(json);
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found
}

fn calls<'c>(package: &Package, limits: Limits, json: &'c str) -> impl FnMut() + use<'c> {
    let mut sandbox = Sandbox::new(package.clone(), limits);
    move || {
        for _ in 0..TIMES {
            black_box(sandbox.evaluate(json)).expect("an answer");
        }
    }
}

/// Returns the resident memory of this process in KB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}
