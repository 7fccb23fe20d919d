//! Measures what a tenant's rule that always exceeds its time limit costs another tenant: the other's throughput with
//! and without it, measured in turns in one run.
//!
//! ```sh
//! cargo bench --bench fairness
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::pipeline::{Claim, FieldPath};
use portcullis::{Engine, Judge, Limits, Package, RuleSet, Tenants, embedded};
use portcullis_event::{Buffers, normalize};

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../../tests/support/packages.rs"]
mod packages;

/// The number of records of each tenant in a round.
const RECORDS: usize = 200_000;

/// The number of rounds of each kind. The median counts.
const ROUNDS: usize = 3;

fn record(tenant: &str) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","verb":"create",
        "user":{{"username":"ada","groups":["system:authenticated"]}},"sourceIPs":["10.0.0.1"],"userAgent":"kubectl/v1.30.0",
        "objectRef":{{"resource":"services","namespace":"prod","name":"web","apiVersion":"v1"}},
        "responseStatus":{{"code":201}},"requestReceivedTimestamp":"2020-01-01T00:00:00.000000Z",
        "requestObject":{{"spec":{{"type":"ClusterIP","ports":[{{"port":80}}]}}}},"p_source_label":"{tenant}"}}"#
    )
}

fn tenant(name: &str, rules: &Arc<RuleSet>, limits: Limits) -> (Judge, Vec<Claim>) {
    let path = FieldPath::new("p_source_label").expect("a path");
    let claim =
        Claim { inputs: Vec::new(), fields: vec![(path, vec![portcullis::package::Pattern::Exact(name.to_owned())])] };
    (Judge::builder(limits).rules(Arc::clone(rules)).tenant(name.into()).build(), vec![claim])
}

/// Returns the time to judge the records of the good tenant, while the other tenant has these rules: first the records
/// until a faulting rule is suspended, and then as many again.
fn round(good: &Arc<RuleSet>, other: &Arc<RuleSet>, limits: Limits) -> [Duration; 2] {
    let mut tenants = Tenants::new(vec![tenant("good", good, Limits::default()), tenant("other", other, limits)]);
    let records = [record("good"), record("other")];
    let mut buffers = Buffers::default();
    [(); 2].map(|()| {
        let begun = Instant::now();
        for n in 0..2 * RECORDS {
            let record = records[n % 2].as_bytes();
            tenants.outcome(normalize(record, &mut buffers), record, "benchmark");
        }
        begun.elapsed()
    })
}

fn main() {
    let engine = Engine::new().expect("an engine");
    let embedded = Arc::new(RuleSet::new(embedded::packages(&engine).expect("the rules")).expect("two rules"));
    let hostile = |name: &str| {
        let package = Package::load(&engine, &packages::hostile(name), name).expect("a package");
        Arc::new(RuleSet::new(vec![package]).expect("one rule"))
    };
    let never = Limits { suspend_after: 0, ..Limits::default() };
    let kinds = [
        ("the same two rules", Arc::clone(&embedded), Limits::default()),
        ("a rule that always loops", hostile("loops"), Limits::default()),
        ("a rule that loops every second time", hostile("loops-every-second-time"), Limits::default()),
        ("a rule that always traps", hostile("traps"), Limits::default()),
        ("a rule that always traps, never suspended", hostile("traps"), never),
    ];
    let mut times = vec![Vec::new(); kinds.len()];
    for _ in 0..ROUNDS {
        for ((_, rules, limits), times) in kinds.iter().zip(&mut times) {
            times.push(round(&embedded, rules, *limits));
        }
    }
    println!(
        "throughput of a tenant, in its first {RECORDS} records and the next, between as many of another that has"
    );
    let mut honest = None;
    for ((kind, _, _), times) in kinds.into_iter().zip(times) {
        let middle = [0, 1].map(|stretch| {
            let mut times: Vec<Duration> = times.iter().map(|times| times[stretch]).collect();
            times.sort();
            times[ROUNDS / 2].as_secs_f64()
        });
        let [first, next] = *honest.get_or_insert(middle);
        println!("{kind:<42} {:.3} {:.3}", first / middle[0], next / middle[1]);
    }
}
