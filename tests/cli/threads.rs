//! Many threads judge as one does.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use crate::support::{Does, SECOND, live, pairs, record, records, run, said, spawn, version};

/// What a run writes, by what it is.
fn written(folder: &Path, input: &Path, threads: usize) -> BTreeMap<&'static str, String> {
    let file = |name: &str| folder.join(format!("{name}-{threads}")).to_str().expect("UTF-8").to_owned();
    let (output, ledger, rejects) = (file("alerts"), file("ledger"), file("rejects"));
    let threads = threads.to_string();
    let input = input.to_str().expect("UTF-8");
    let args = ["run", input, "--threads", &threads, "--incidents", "--output", &output, "--ledger", &ledger];
    let ended = run(args.into_iter().chain(["--rejects", &rejects]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let read = |file: &str| fs::read_to_string(file).expect("it was written");
    BTreeMap::from([
        ("alerts and incidents", read(&output)),
        ("ledger", read(&ledger)),
        ("rejects", read(&rejects)),
        ("account", ended.stderr),
    ])
}

#[test]
fn any_number_of_threads_writes_the_same_output() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let input = folder.path().join("records.ndjson");
    let mut text = String::new();
    for (n, record) in records::records(7, 3_000).enumerate() {
        text += &record;
        text += "\n";
        match n % 100 {
            // Something wrong, something in a list over several lines, something long.
            11 => text += "{\"kind\":\"Event\",\n",
            37 => text += &format!("{{\"items\":[\n{record},\n{record}\n]}}\n"),
            73 => text += &format!("{{\"kind\":\"{}\"}}\n", "x".repeat(100_000)),
            _ => {}
        }
    }
    fs::write(&input, text).expect("written");
    let one = written(folder.path(), &input, 1);
    assert!(one["ledger"].lines().count() > 3_000 && one["rejects"].lines().count() >= 30);
    assert!(one["alerts and incidents"].contains("\"incident\""));
    for threads in [2, 3, 8] {
        let several = written(folder.path(), &input, threads);
        for (what, one) in &one {
            assert!(several[what] == *one, "the {what} of {threads} threads differ from those of one");
        }
    }
}

/// A version that fails is rolled back by each judge for itself, and once on record.
#[test]
fn a_version_that_fails_on_several_threads_is_rolled_back_once() {
    let mut live = live("", &["--watch", "--threads", "4"]);
    live.put(SECOND, &version("2.0.0", Does::TrapOnLong));
    live.wait_for("activated", "2.0.0");
    let long = record(true);
    live.send(&[&*long; 400]);
    live.wait_for("rolled-back", "2.0.0");
    let (run, folder) = live.end();
    assert_eq!((run.ledger.len(), pairs(&said(&run.ledger))), (400, vec![("1.0.0", "alert")]));
    let history = crate::support::history(&folder.path().join("history"));
    assert_eq!(history.iter().filter(|entry| entry["action"] == "rolled-back").count(), 1, "{history:?}");
}

/// That an output fails is told at once, though no more input comes.
#[test]
fn a_full_disk_ends_a_run_that_waits_for_input() {
    for threads in ["1", "3"] {
        let mut child = spawn(["run", "-", "--threads", threads, "--ledger", "/dev/null", "--output", "/dev/full"]);
        let mut stdin = child.stdin.take().expect("piped");
        let alerting = records::records(1, 1_000).find(|record| record.contains(r#""type":"NodePort""#)).expect("one");
        writeln!(stdin, "{alerting}").expect("it reads");
        let mut said = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut said).expect("it ends, and its last words are text");
        assert_eq!(child.wait().expect("it ends").code(), Some(4), "{said}");
        assert!(said.contains("/dev/full: cannot be written: No space left on device"), "{said}");
        drop(stdin);
    }
}
