//! Any bytes as input: no panic, every record under exactly one outcome, and the sums and the ledger agree.

use std::fs;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::support::{project, run, run_accounted};

/// Lines to mutate: the samples of the three clouds.
fn samples() -> Vec<Vec<u8>> {
    ["eks", "aks", "gke", "broken"]
        .iter()
        .flat_map(|cloud| {
            let text = fs::read(project("fixtures/samples").join(cloud).with_extension("ndjson")).expect("the sample");
            text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect::<Vec<_>>()
        })
        .collect()
}

/// A line: a sample, and which; or a sample with some bytes changed or cut off, or just bytes.
fn line() -> impl Strategy<Value = (Vec<u8>, Option<usize>)> {
    let number = 0..samples().len();
    let sample = prop::sample::select(samples());
    let changed = (sample.clone(), prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)).prop_map(
        |(mut line, changes)| {
            for (place, byte) in changes {
                let place = place.index(line.len());
                line[place] = byte;
            }
            line
        },
    );
    let cut = (sample, any::<prop::sample::Index>()).prop_map(|(mut line, place)| {
        line.truncate(place.index(line.len()));
        line
    });
    let json = prop::collection::vec(prop::sample::select(&b"{}[]\",:\\ a1\r"[..]), 0..12);
    let broken = prop_oneof![changed, cut, json, prop::collection::vec(any::<u8>(), 0..60)];
    prop_oneof![
        number.prop_map(|number| (samples().swap_remove(number), Some(number))),
        broken.prop_map(|line| (line, None)),
    ]
}

/// The ids of a run's alerts.
fn ids(run: &crate::support::Run) -> Vec<String> {
    run.alerts.iter().map(|alert| alert["alert_id"].to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("../../tests/cli/accounting.proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    /// Whatever stands around it, a whole line is judged as it is alone.
    #[test]
    fn any_bytes_are_accounted_for_and_do_not_affect_other_records(
        lines in prop::collection::vec(line(), 0..60), ends in any::<bool>(),
    ) {
        static ALONE: LazyLock<Vec<Vec<String>>> =
            LazyLock::new(|| samples().iter().map(|line| ids(&run_accounted(line, &[]))).collect());
        let mut input = lines.iter().map(|(line, _)| &**line).collect::<Vec<_>>().join(&b'\n');
        if ends {
            input.push(b'\n');
        }
        let run = run_accounted(&input, &[]);
        prop_assert_eq!(run.ended.code, Some(0));
        let mut found = ids(&run);
        for id in lines.iter().filter_map(|(_, sample)| *sample).flat_map(|sample| &ALONE[sample]) {
            let place = found.iter().position(|found| found == id);
            prop_assert!(place.is_some(), "an alert is lost");
            found.swap_remove(place.unwrap_or_default());
        }
    }
}

/// What is wrong with a record is kept with the record, its place and the reason.
#[test]
fn wrong_records_are_kept() {
    let input = b"{}\nno JSON\n\n\xff\n{\"p_log_type\":\"Amazon.EKS.Audit\",\"verb\":5}\n";
    let run = run_accounted(input, &[]);
    let rejects: Vec<String> = run.rejects.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(rejects.join("\n"));
}

#[test]
fn a_fault_is_a_verdict_with_its_reason_and_the_record_is_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::write(path("loops.wasm"), crate::support::hostile("loops")).expect("written");
    let (_exported, files) = crate::support::exported();
    let mut args = vec!["--rules", folder.path().to_str().expect("UTF-8")];
    for file in &files {
        args.extend(["--rules", file.to_str().expect("UTF-8")]);
    }
    let run = run_accounted(&fs::read(project("fixtures/samples/eks.ndjson")).expect("the sample"), &args);
    assert_eq!(run.ended.code, Some(0));
    let without = run_accounted(&fs::read(project("fixtures/samples/eks.ndjson")).expect("the sample"), &[]);
    for (n, (with, without)) in run.ledger.iter().zip(&without.ledger).enumerate() {
        assert_eq!(run.verdict(n, "Hostile.loops"), "fault");
        let mut with = with.clone();
        let fault = with["rules"].as_object_mut().expect("rules").remove("Hostile.loops").expect("a verdict");
        let reason = fault["reason"].as_str().expect("a reason");
        let suspended = n >= 10 && reason.starts_with("is suspended because of its faults, for at most ");
        assert!(suspended || reason == "ran longer than its limit of 10ms", "{n}: {reason}");
        assert_eq!(&with, without, "the other rules judge as without it");
    }
    assert_eq!(run.alerts, without.alerts);
    assert_eq!(run.rejects[0]["faults"][0]["rule_id"], "Hostile.loops");
    let message = "portcullis: standard input:1: Hostile.loops 0.1.0 failed: it ran longer than its limit of 10ms\n";
    assert!(run.ended.stderr.contains(message), "{}", run.ended.stderr);
}

/// A dead letter must not be as long as a broken line can be.
#[test]
fn of_a_very_long_record_the_rejects_keep_the_beginning_and_the_length() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let record = format!("{{\"kind\":\"Event\",{}", "é".repeat(3 << 20));
    fs::write(path("broken.ndjson"), &record).expect("written");
    let ended = run(["run", &path("broken.ndjson"), "--rejects", &path("rejects")]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let line: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path("rejects")).expect("written")).expect("one line");
    let kept = line["record"].as_str().expect("text");
    assert!(record.starts_with(kept) && (4 << 20) - kept.len() <= 1, "{} bytes", kept.len());
    assert_eq!(line["record_length"], record.len());
}
