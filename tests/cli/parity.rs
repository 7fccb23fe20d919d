//! 4,000 generated records with what must come out of each, through the built components.

use std::fs;
use std::sync::Arc;

use portcullis::{Engine, Judge, Judgement, Limits, RuleSet, Verdict, embedded};
use serde_json::Value;

use crate::support::{NODEPORT, SYSTEM_PRINCIPAL, json_lines, project, run_accounted};

fn records() -> Vec<u8> {
    fs::read(project("fixtures/parity/events.ndjson")).expect("the records")
}

#[test]
fn every_record_has_its_outcome_and_verdicts() {
    let expected =
        json_lines(&fs::read_to_string(project("fixtures/parity/expected.ndjson")).expect("the expectations"));
    let run = run_accounted(&records(), &[]);
    assert_eq!(run.ended.code, Some(0));
    assert_eq!((run.ledger.len(), expected.len()), (4000, 4000));
    let mut differing = Vec::new();
    for (n, expected) in expected.iter().enumerate() {
        let line = &run.ledger[n];
        let is_malformed = |line: &Value| line["malformed"].as_array().is_some_and(|paths| !paths.is_empty());
        let same = line["outcome"] == expected["outcome"]
            && expected["nodeport"] == (run.verdict(n, NODEPORT) == "alert")
            && expected["system_principal"] == (run.verdict(n, SYSTEM_PRINCIPAL) == "alert")
            && is_malformed(line) == is_malformed(expected);
        if !same {
            differing.push(format!("{n}: {line}\n   expected {expected}"));
        }
    }
    assert!(differing.is_empty(), "{} of 4000 differ:\n{}", differing.len(), differing.join("\n"));
}

/// A prefilter saves asking; it never changes a verdict.
#[test]
fn prefilters_exclude_nothing() {
    let engine = Engine::new().expect("an engine");
    let rules = Arc::new(RuleSet::new(embedded::packages(&engine).expect("the embedded rules")).expect("two rules"));
    let test_cases = rules.packages().iter().flat_map(|package| &package.spec().test_cases);
    let mut all: Vec<Vec<u8>> = test_cases.map(|case| case.record.to_string().into_bytes()).collect();
    assert_eq!(all.len(), 24);
    all.extend(records().split(|byte| *byte == b'\n').map(<[u8]>::to_vec));

    let mut with = Judge::new(Arc::clone(&rules), Limits::default());
    let mut without = Judge::builder(Limits::default()).rules(rules).without_prefilters().build();
    let (mut alerts, mut skipped) = (0, 0);
    for record in &all {
        let (filtered, asked) = (with.record(record), without.record(record));
        let (Judgement::Evaluated { verdicts: filtered, .. }, Judgement::Evaluated { verdicts: asked, .. }) =
            (filtered, asked)
        else {
            continue;
        };
        assert_eq!((filtered.all().count(), asked.all().count()), (2, 2));
        for ((_, filtered), (_, asked)) in filtered.all().zip(asked.all()) {
            skipped += u32::from(matches!(filtered, Verdict::Skipped));
            alerts += u32::from(matches!(asked, Verdict::Alert(_)));
            assert_eq!(alert(filtered), alert(asked), "{}", String::from_utf8_lossy(record));
            assert!(matches!(asked, Verdict::Alert(_) | Verdict::NoMatch), "{asked:?}");
        }
    }
    assert!(alerts > 1000 && skipped > 1000, "the corpus has {alerts} alerts and {skipped} skipped");
}

fn alert(verdict: &Verdict) -> Option<Value> {
    match verdict {
        Verdict::Alert(alert) => Some(serde_json::to_value(alert).expect("an alert is JSON")),
        Verdict::Excluded { .. } | Verdict::NoMatch | Verdict::Skipped | Verdict::Fault(_) => None,
    }
}
