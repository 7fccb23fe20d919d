//! What must hold when everything is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::endpoint::is_refused;
use super::judge::{Kind, alert_id};
use super::process::{Node, TENANTS};
use super::{Accepted, World};

/// The files and counts of a machine.
struct Found {
    /// The records in the ledger, by batch, in order.
    ledger: BTreeMap<String, Vec<Value>>,
    /// How often each alert is in the file.
    file: BTreeMap<String, u64>,
    /// How often each record is a dead letter.
    dead_letters: BTreeMap<String, u64>,
    /// How often each alert is a dead letter of the endpoint.
    given_up: BTreeMap<String, u64>,
}

/// Checks the invariants of the service.
pub(super) fn check(world: &World) {
    let found: Vec<Found> = world.nodes.iter().map(|node| read(node)).collect();
    let accepted = world.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let lost = world.shared.server.as_ref().map(super::Server::lost).unwrap_or_default();
    for batch in accepted.iter().filter(|batch| !lost.contains(&batch.id)) {
        check_batch(world, batch, &found);
    }
    for (node, found) in world.nodes.iter().zip(&found) {
        check_node(world, node, found);
    }
}

fn read(node: &Node) -> Found {
    let parse = |line: String| -> Value { serde_json::from_str(&line).expect("each line is whole") };
    let mut found = Found {
        ledger: BTreeMap::new(),
        file: BTreeMap::new(),
        dead_letters: BTreeMap::new(),
        given_up: BTreeMap::new(),
    };
    for (n, line) in node.platter.lines("/data/ledger").into_iter().map(parse).enumerate() {
        assert_eq!(line["n"], n, "the numbers of a ledger go on");
        found.ledger.entry(text(&line["batch"])).or_default().push(line);
    }
    for line in node.platter.lines("/data/alerts").into_iter().map(parse) {
        *found.file.entry(text(&line["record"])).or_default() += 1;
    }
    for line in node.platter.lines("/data/dead-letters.ndjson").into_iter().map(parse) {
        let (letters, record) = match &line["alert"] {
            Value::Null => (&mut found.dead_letters, &line["record"]),
            alert => (&mut found.given_up, &alert["record"]),
        };
        *letters.entry(text(record)).or_default() += 1;
    }
    found
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Checks that a batch that was accepted is judged, by rules that passed their checks, and that its results are where
/// they should be.
fn check_batch(world: &World, batch: &Accepted, found: &[Found]) {
    let seed = world.seed;
    if batch.is_stored {
        let server = world.shared.server.as_ref().expect("it is stored at a server");
        let dead = server.dead_letters().into_iter().find(|(id, _)| *id == batch.id);
        let may_die = batch.records.iter().any(|record| matches!(Kind::of(record), Kind::Deadly | Kind::Huge));
        if let Some((_, reason)) = dead {
            assert!(may_die, "seed {seed}: {batch:?} is a dead letter: {reason}");
            return;
        }
        assert!(!may_die, "seed {seed}: {batch:?} is no dead letter");
    }
    // A replica that judged it may have died before it was done with it, and its disk may not have all of it.
    let is_whole = |found: &&Found| {
        let lines = found.ledger.get(&batch.id);
        lines.is_some_and(|lines| lines.iter().map(|line| text(&line["record"])).eq(batch.records.iter().cloned()))
    };
    let whole: Vec<&Found> = found.iter().filter(is_whole).collect();
    assert!(!whole.is_empty(), "seed {seed}: lost: {batch:?}, in ledgers as {:?}", lines_of(batch, found));
    if !batch.is_stored {
        assert!(is_whole(&&found[batch.node]), "seed {seed}: {batch:?} is in another ledger");
    }
    // The ledger's line comes last: whoever has it has the rest.
    for found in whole {
        for record in &batch.records {
            let (alerts, letters) = match Kind::of(record) {
                Kind::Alerts | Kind::Refused => (1, 0),
                Kind::Broken => (0, 1),
                _ => (0, 0),
            };
            let count = |of: &BTreeMap<String, u64>| of.get(record).copied().unwrap_or(0);
            assert_eq!(count(&found.file), alerts, "seed {seed}: alerts on {record} of {batch:?}");
            assert!(count(&found.dead_letters) >= letters, "seed {seed}: dead letters of {record} of {batch:?}");
        }
        for line in &found.ledger[&batch.id] {
            check_rules(world, batch, line);
        }
    }
    if let Some(server) = world.shared.server.as_ref().filter(|server| !server.is_wiped()) {
        let alerts: BTreeSet<String> = server.alerts().into_iter().collect();
        for record in batch.records.iter().filter(|record| is_alert(record)) {
            let subject = format!("portcullis.alerts.{}.{}", TENANTS[batch.tenant], alert_id(record));
            assert!(alerts.contains(&subject), "seed {seed}: the alert on {record} is not in the stream");
        }
    }
}

fn lines_of(batch: &Accepted, found: &[Found]) -> Vec<usize> {
    found.iter().map(|found| found.ledger.get(&batch.id).map_or(0, Vec::len)).collect()
}

fn is_alert(record: &str) -> bool {
    matches!(Kind::of(record), Kind::Alerts | Kind::Refused)
}

/// Checks that a record was judged by both rules of its tenant, each in a version that passes its checks.
fn check_rules(world: &World, batch: &Accepted, line: &Value) {
    let seed = world.seed;
    let rules: Vec<String> = line["rules"].as_array().expect("a list").iter().map(text).collect();
    let names: Vec<&str> = rules.iter().filter_map(|rule| Some(rule.split_once('@')?.0)).collect();
    // A server that lost its packages gives a new replica what was published since.
    if !world.shared.server.as_ref().is_some_and(super::Server::is_wiped) {
        assert_eq!(names, ["first", "second"], "seed {seed}: {batch:?} was judged by {rules:?}");
    }
    assert!(!names.is_empty(), "seed {seed}: {batch:?} was judged by no rule");
    let good = world.good.lock().unwrap_or_else(PoisonError::into_inner);
    for rule in &rules {
        let (name, version) = rule.split_once('@').expect("a version");
        let key = (batch.tenant, name.to_owned(), version.parse().expect("a number"));
        assert!(good.contains_key(&key), "seed {seed}: {batch:?} was judged by {rule}, which fails its checks");
    }
}

/// Checks what a machine has of any batch.
fn check_node(world: &World, node: &Node, found: &Found) {
    let (seed, name) = (world.seed, &node.name);
    for (what, counts) in [("alert", &found.file), ("dead letter of an alert", &found.given_up)] {
        let doubled = counts.iter().find(|(_, count)| **count > 1);
        assert!(doubled.is_none(), "seed {seed}: doubled on {name}: {what} {doubled:?}");
    }
    for (batch, lines) in &found.ledger {
        let records: Vec<String> = lines.iter().map(|line| text(&line["record"])).collect();
        let of_batch = |known: &&Accepted| known.id == *batch;
        let accepted = world.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = accepted.iter().find(of_batch) {
            assert!(known.records.starts_with(&records), "seed {seed}: doubled on {name}: {records:?} of {known:?}");
        }
    }
    check_dead_letters(world, node, found);
    check_endpoint(world, node, found);
    for (answered, counted) in node.counts() {
        // With a stream, a batch is counted where it is judged.
        if world.shared.server.is_none() {
            assert!(counted >= answered, "seed {seed}: {name} answered {answered} records and counted {counted}");
        }
    }
}

/// Checks that each record of a batch in the ledger is a dead letter once, if it is to be one. A batch that is refused
/// leaves its dead letters, which count for the batch when it comes again, if it comes to the same machine.
fn check_dead_letters(world: &World, node: &Node, found: &Found) {
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for line in found.ledger.values().flatten() {
        *expected.entry(text(&line["record"])).or_default() += 1;
    }
    let refused = world.refused.lock().unwrap_or_else(PoisonError::into_inner);
    for (record, count) in &found.dead_letters {
        let left = refused.get(record).copied().unwrap_or(0);
        let of_stream = if world.shared.server.is_some() { node.deaths.load(Ordering::Relaxed) } else { 0 };
        let most = expected.get(record).copied().unwrap_or(0) + left + of_stream;
        let (seed, name) = (world.seed, &node.name);
        assert!(*count <= most, "seed {seed}: {record} is a dead letter {count} times on {name}, and {most} at most");
    }
}

/// Checks that each alert that the spool took is at the endpoint, or a dead letter. It comes twice only where an answer
/// was lost or the process ended.
fn check_endpoint(world: &World, node: &Node, found: &Found) {
    let (seed, name) = (world.seed, &node.name);
    let taken = node.endpoint.taken();
    for record in found.file.keys() {
        let (count, answers_lost) = taken.get(record).copied().unwrap_or((0, 0));
        let given_up = found.given_up.contains_key(record);
        // The file has the alert even if the spool did not take it, and the batch was refused.
        let is_kept = found.ledger.values().flatten().any(|line| line["record"] == **record);
        if is_kept {
            assert!(count > 0 || given_up, "seed {seed}: the endpoint of {name} never got the alert on {record}");
        }
        if is_refused(record) {
            assert_eq!(count, 0, "seed {seed}: {record}");
        }
        let deaths = node.deaths.load(Ordering::Relaxed);
        let most = 1 + answers_lost + deaths;
        assert!(count <= most, "seed {seed}: the endpoint of {name} got the alert on {record} {count} times");
    }
}
