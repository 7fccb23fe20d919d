//! Measures what many tenants with many rules cost: the memory of each, and a record, compared with one tenant that has
//! the two rules.
//!
//! ```sh
//! cargo bench --bench tenants
//! ```

#[path = "support/memory.rs"]
mod memory;
#[path = "support/records.rs"]
mod records;
#[path = "support/rounds.rs"]
mod rounds;
#[path = "support/rules.rs"]
mod rules;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use memory::resident;
use portcullis::package::Pattern;
use portcullis::pipeline::{Claim, FieldPath};
use portcullis::read::{Documents, Records};
use portcullis::{Engine, Judge, Limits, Package, RuleSet, Tenants, embedded};
use rounds::{Turn, take_turns};
use rules::others;

/// The number of records, of which each tenant has as many as the others.
const RECORDS: usize = 20_000;

/// The seed of the records.
const SEED: u64 = 2;

const ROUNDS: usize = 11;

/// The number of tenants.
const TENANTS: usize = 100;

/// The number of rules of each, of which two can match.
const RULES: usize = 1000;

fn main() {
    let engine = Engine::new().expect("an engine");
    let two = embedded::packages(&engine).expect("the rules");
    let many: Vec<Package> = two.iter().cloned().chain(others(&engine, &two[0], RULES - two.len())).collect();
    let (of_one, of_all) = (labelled(1), labelled(TENANTS));

    let mut one = tenants(1, &two);
    let mut few = tenants(TENANTS, &two);
    let (memory, begun) = (resident(), Instant::now());
    let mut all = tenants(TENANTS, &many);
    println!("{TENANTS} tenants with {RULES} rules each, on one thread:");
    println!("{:<34} {:>8.2} s", "to assemble them", begun.elapsed().as_secs_f64());
    println!("{:<34} {:>8} KB", "memory of each tenant", (resident() - memory) / TENANTS as u64);

    let mut turns = [
        Turn::new("one tenant, 2 rules", || read(&of_one, &mut one)),
        Turn::new("100 tenants, 2 rules each", || read(&of_all, &mut few)),
        Turn::new("100 tenants, 1,000 rules each", || read(&of_all, &mut all)),
    ];
    take_turns(ROUNDS, &mut turns);
    for turn in &turns {
        #[expect(clippy::cast_precision_loss, reason = "the number is small")]
        let micros = turn.best() * 1e6 / RECORDS as f64;
        println!("{:<34} {micros:>8.2} µs a record, {:.2} times the first", turn.name(), turn.over(&turns[0]));
    }
    drop(turns);
    let alerts = [&one, &few, &all].map(alerts);
    assert!(alerts.iter().all(|count| *count == alerts[0] && *count > 0), "all alert alike: {alerts:?}");
}

/// Returns the records as lines, with a label for each of so many tenants in turn.
fn labelled(tenants: usize) -> String {
    let line = |(number, record): (usize, String)| {
        let members = record.strip_prefix('{').expect("an object");
        format!("{{\"label\":\"tenant-{}\",{members}\n", number % tenants)
    };
    records::records(SEED, RECORDS).enumerate().map(line).collect()
}

/// Returns this many tenants, each with a rule set of these packages, which claim records by their label.
fn tenants(count: usize, packages: &[Package]) -> Tenants {
    let claim = |number| {
        let path = FieldPath::new("label").expect("a path");
        Claim { inputs: Vec::new(), fields: vec![(path, vec![Pattern::new(&format!("tenant-{number}"))])] }
    };
    let judge = || {
        let rules = RuleSet::new(packages.to_vec()).expect("one of each");
        // All records are of few minutes.
        Judge::new(Arc::new(rules), Limits { alerts_per_minute: u32::MAX, ..Limits::default() })
    };
    Tenants::new((0..count).map(|number| (judge(), vec![claim(number)])).collect())
}

/// Judges all records of an input.
fn read(input: &str, tenants: &mut Tenants) {
    let (mut documents, mut records) = (Documents::new(input.as_bytes()), Records::default());
    while let Some(document) = documents.next_document().expect("it is in memory") {
        let judged = records.for_each(&document, &mut |record, outcome| {
            tenants.outcome(outcome, record.bytes, "records");
            Ok::<(), Infallible>(())
        });
        let Ok(()) = judged;
    }
}

/// Returns the number of alerts of all tenants.
fn alerts(tenants: &Tenants) -> u64 {
    tenants.all().iter().flat_map(|(_, accounting)| accounting.rules()).map(|rule| rule.alert).sum()
}
