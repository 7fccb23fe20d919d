//! `portcullis run -` as a child of another program, which writes records into one pipe and reads alerts out of another for as
//! long as it lives.

mod configurations;
mod piped;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use piped::{PATIENCE, Piped, record, streamed};

#[test]
fn each_alert_is_there_before_the_next_record_is_written() {
    for args in [
        &["--format", "ndjson"][..],
        &["--format", "ocsf"],
        &["--threads", "1"],
        &["--threads", "2"],
        &["--threads", "2", "--format", "ocsf", "--quiet"],
    ] {
        let mut piped = Piped::start(args);
        let (mut read, mut alerts) = (String::new(), String::new());
        for n in 0..200 {
            let records = record(2 * n, false) + &record(2 * n + 1, true);
            piped.write(&records);
            read += &records;
            let line = piped.read_line();
            let alert: Value = serde_json::from_str(&line).expect("an alert is a line of JSON");
            assert!(alert.to_string().contains(&format!("\"{}\"", 2 * n + 1)), "it is this record's: {line}");
            alerts += &line;
        }
        drop(piped.stdin.take());
        let ending = piped.end();
        assert_eq!((ending.code, &*ending.rest), (Some(0), ""), "{args:?}: {}", ending.stderr);
        if !args.contains(&"--quiet") {
            ending.check_account(&read, &alerts);
        }
    }
}

/// The reader of alerts goes, and the writer of records stays and is silent: the next alert ends it, at the latest.
#[test]
fn a_closed_output_ends_the_run_at_the_next_alert() {
    for threads in ["1", "2"] {
        let mut piped = Piped::start(&["--threads", threads]);
        let mut read = record(0, true);
        piped.write(&read);
        let alert = piped.read_line();
        drop(piped.stdout.take());
        for (n, matches) in [(1, false), (2, true)] {
            piped.write(&record(n, matches));
            read += &record(n, matches);
        }
        // Standard input is open to the end.
        let writer = piped.stdin.take();
        let ending = piped.end();
        drop(writer);
        assert_eq!(ending.code, Some(0), "{}", ending.stderr);
        // The second alert found no reader, and is no secret: it is in the ledger.
        ending.check_account(&read, &alert.repeat(2));
    }
}

#[test]
fn a_closed_output_costs_no_line_of_the_ledger() {
    for (threads, before) in [("1", 1), ("2", 1), ("1", 50), ("2", 50), ("2", 300)] {
        let mut piped = Piped::start(&["--threads", threads]);
        let writing = piped.write_stream();
        let alerts: String = (0..before).map(|_| piped.read_line()).collect();
        drop(piped.stdout.take());
        let mut ending = piped.end();
        assert_eq!(ending.code, Some(0), "{}", ending.stderr);
        let read = writing.read_by(&mut ending);
        let alerted = ending.lines("ledger").iter().filter(|line| line.to_string().contains("\"alert\"")).count();
        assert!(alerted > before);
        // Those that nobody took are in the ledger all the same.
        let first = alerts.split_inclusive('\n').next().expect("one at least");
        ending.check_account(&read, &first.repeat(alerted));
    }
}

#[test]
fn a_termination_signal_under_full_load_loses_nothing_that_was_read() {
    for (threads, before) in [("1", 1), ("2", 1), ("1", 40), ("2", 40), ("2", 400), ("3", 400)] {
        let mut piped = Piped::start(&["--threads", threads]);
        let writing = piped.write_stream();
        let mut alerts: String = (0..before).map(|_| piped.read_line()).collect();
        piped.signal(Signal::TERM);
        let mut ending = piped.end();
        assert_eq!(ending.code, Some(130), "{}", ending.stderr);
        let read = writing.read_by(&mut ending);
        alerts += &ending.rest;
        ending.check_account(&read, &alerts);
    }
}

/// What had come of a record when the signal came is a broken record, and kept.
#[test]
fn a_record_cut_off_by_a_signal_is_judged_on_its_complete_part_and_kept() {
    for threads in ["1", "2"] {
        let mut piped = Piped::start(&["--threads", threads]);
        let (first, second) = (record(0, true), record(1, true));
        let half = &second[..second.len() / 2];
        piped.write(&first);
        let alert = piped.read_line();
        piped.write(half);
        piped.wait_until_read();
        piped.signal(Signal::TERM);
        let writer = piped.stdin.take();
        let ending = piped.end();
        drop(writer);
        assert_eq!((ending.code, &*ending.rest), (Some(130), ""), "{}", ending.stderr);
        assert!(ending.stderr.contains("2 records = 2 evaluated (1 with malformed fields)"), "{}", ending.stderr);
        ending.check_account(&(first + half), &alert);
    }
}

#[test]
fn a_termination_signal_ends_it_while_it_waits() {
    // For the second record.
    let mut piped = Piped::start(&[]);
    piped.write(&record(0, true));
    let alert = piped.read_line();
    piped.signal(Signal::TERM);
    let writer = piped.stdin.take();
    let ending = piped.end();
    drop(writer);
    assert_eq!(ending.code, Some(130), "{}", ending.stderr);
    ending.check_account(&record(0, true), &alert);

    // For whoever is to open a named pipe.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let named = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&named).status().expect("mkfifo runs").success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("run").arg(&named).arg("--ledger").arg(folder.path().join("ledger"));
    command.arg("--rejects").arg(folder.path().join("rejects"));
    let piped = Piped::start_command(command, folder);
    wait_until_open(&piped, &named);
    piped.signal(Signal::TERM);
    let ending = piped.end();
    assert_eq!(ending.code, Some(130), "{}", ending.stderr);
    assert!(ending.stderr.contains("portcullis: 0 records = "), "{}", ending.stderr);
}

/// Waits until the child has a file open.
fn wait_until_open(piped: &Piped, file: &Path) {
    let began = Instant::now();
    let is_open = || {
        let files = fs::read_dir(format!("/proc/{}/fd", piped.child.id())).expect("it lives");
        files.flatten().any(|open| fs::read_link(open.path()).is_ok_and(|open| open == file))
    };
    while !is_open() {
        assert!(began.elapsed() < PATIENCE, "it does not open {}", file.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A named pipe that is written to, closed and written to again is one input, up to when nobody has it open.
#[test]
fn a_named_pipe_is_read_until_all_writers_close_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let named: PathBuf = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&named).status().expect("mkfifo runs").success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("run").arg(&named).arg("--ledger").arg(folder.path().join("ledger"));
    command.arg("--rejects").arg(folder.path().join("rejects"));
    let mut piped = Piped::start_command(command, folder);
    let open = || -> File { OpenOptions::new().write(true).open(&named).expect("it is read") };
    let mut first = open();
    first.write_all(record(0, true).as_bytes()).expect("there is room");
    let mut alerts = piped.read_line();
    let mut second = open();
    drop(first);
    second.write_all(record(1, true).as_bytes()).expect("there is room");
    alerts += &piped.read_line();
    drop(second);
    let ending = piped.end();
    assert_eq!((ending.code, &*ending.rest), (Some(0), ""), "{}", ending.stderr);
    ending.check_account(&(record(0, true) + &record(1, true)), &alerts);
}

#[test]
fn the_end_of_input_drains() {
    for threads in ["1", "2"] {
        let mut piped = Piped::start(&["--threads", threads]);
        let mut stdin = piped.stdin.take().expect("it is open");
        let read: String = (0..20_000).map(streamed).collect();
        let written = read.clone();
        let writer = std::thread::spawn(move || stdin.write_all(written.as_bytes()).expect("it is read"));
        // Nobody reads alerts until everything is written: more than pipes hold.
        let first = piped.read_line();
        let ending = piped.end();
        writer.join().expect("it writes");
        assert_eq!(ending.code, Some(0), "{}", ending.stderr);
        ending.check_account(&read, &(first + &ending.rest));
    }
}

/// A processor that waits for one line behind each that it has written: whatever the lines are, and in their order.
#[test]
fn each_line_is_answered_with_one_before_the_next_is_written() {
    for threads in ["1", "2"] {
        let mut piped = Piped::start(&["--format", "annotated", "--threads", threads]);
        let mut read = String::new();
        for n in 0..100 {
            for line in ["\n", "{\n", "[\n", "{\"a\":\n", "\"\n", &record(n, false), &streamed(n), "{\"items\":[]}\n"] {
                piped.write(line);
                read += line;
                let answer = piped.read_line();
                let matches = line.contains("NodePort");
                assert_eq!(answer.contains("\"portcullis\":{\"verdict\":\"alert\""), matches, "{answer}");
                assert!(matches || answer == line, "{answer}");
            }
        }
        piped.signal(Signal::TERM);
        let ending = piped.end();
        assert_eq!((ending.code, &*ending.rest), (Some(130), ""), "{}", ending.stderr);
        assert_eq!(ending.lines("ledger").len(), read.lines().count(), "each is a record, or holds none");
    }
}
