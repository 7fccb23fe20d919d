//! `portcullis run -` as a child of another program, which writes records into one pipe and reads alerts out of another for as
//! long as it lives.

mod configurations;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Read as _, Write, pipe};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{Run, json_lines};

/// Only what hangs takes as long.
const PATIENCE: Duration = Duration::from_mins(3);

/// A record that the NodePort rule matches, or misses narrowly.
fn record(n: usize, matches: bool) -> String {
    let kind = if matches { "NodePort" } else { "ClusterIP" };
    json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "auditID": format!("{n}"),
        "verb": "create",
        "user": {"username": "ada"},
        "objectRef": {"resource": "services", "namespace": "prod", "name": "web"},
        "requestObject": {"spec": {"type": kind}},
    })
    .to_string()
        + "\n"
}

/// A stream of records: some match, most do not, some are broken.
fn streamed(n: usize) -> String {
    match n % 16 {
        3 => format!("broken {n}\n"),
        n_of_16 => record(n, n_of_16 == 7),
    }
}

/// The command as a child, and both ends of the pipe that it reads from: what it has not read is still there when it has
/// ended, so that what it has read is known to the byte.
struct Piped {
    folder: tempfile::TempDir,
    child: Child,
    stdin: Option<PipeWriter>,
    unread: PipeReader,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: ChildStderr,
    _alive: Sender<()>,
}

impl Piped {
    fn start(more_args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(["run", "-"]).arg("--ledger").arg(folder.path().join("ledger"));
        command.arg("--rejects").arg(folder.path().join("rejects")).args(more_args);
        Self::start_command(command, folder)
    }

    /// Starts a command that keeps its ledger and its rejects in this folder.
    fn start_command(mut command: Command, folder: tempfile::TempDir) -> Self {
        let (unread, stdin) = pipe().expect("a pipe");
        command.stdin(unread.try_clone().expect("a copy")).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let (alive, dead) = channel::<()>();
        let process = Pid::from_child(&child);
        std::thread::spawn(move || {
            if dead.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let _ = kill_process(process, Signal::KILL);
            }
        });
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let stdout = Some(BufReader::new(stdout));
        Self { folder, child, stdin: Some(stdin), unread, stdout, stderr, _alive: alive }
    }

    fn write(&mut self, text: &str) {
        self.stdin.as_mut().expect("it is open").write_all(text.as_bytes()).expect("there is room");
    }

    /// The next line that it writes.
    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().expect("it is open").read_line(&mut line).expect("it writes UTF-8");
        assert!(line.ends_with('\n'), "a line is whole: {line:?}");
        line
    }

    /// Waits until it has read everything that was written.
    fn wait_until_read(&self) {
        let began = Instant::now();
        while rustix::io::ioctl_fionread(&self.unread).expect("it is a pipe") > 0 {
            assert!(began.elapsed() < PATIENCE, "it does not read");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it lives");
    }

    /// Writes the stream as fast as it is taken, from a thread of its own.
    fn write_stream(&mut self) -> Writing {
        let mut stdin = self.stdin.take().expect("it is open");
        let stops = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stops);
        let thread = std::thread::spawn(move || {
            let mut written = String::new();
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let line = streamed(n);
                stdin.write_all(line.as_bytes()).expect("its reading end is also ours");
                written += &line;
            }
            written
        });
        Writing { stops, thread }
    }

    /// Waits until it has ended; and gives what it said, which adds up.
    fn end(mut self) -> Ending {
        let mut rest = String::new();
        if let Some(mut stdout) = self.stdout.take() {
            stdout.read_to_string(&mut rest).expect("UTF-8");
        }
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).expect("UTF-8");
        let code = self.child.wait().expect("it ends").code();
        assert!(!stderr.contains("panic"), "{stderr}");
        Ending { folder: self.folder, unread: self.unread, code, rest, stderr }
    }
}

/// A stream that is being written.
struct Writing {
    stops: Arc<AtomicBool>,
    thread: JoinHandle<String>,
}

impl Writing {
    /// What of the stream the child has read, now that it has ended.
    fn read_by(self, ending: &mut Ending) -> String {
        self.stops.store(true, Ordering::Relaxed);
        let mut unread = Vec::new();
        ending.unread.read_to_end(&mut unread).expect("the writer ends");
        let mut written = self.thread.join().expect("it writes");
        assert!(written.as_bytes().ends_with(&unread));
        written.truncate(written.len() - unread.len());
        written
    }
}

/// A child that has ended.
struct Ending {
    folder: tempfile::TempDir,
    unread: PipeReader,
    code: Option<i32>,
    /// What it has written to standard output that had not been read yet.
    rest: String,
    stderr: String,
}

impl Ending {
    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join(name)).expect("it was written");
        assert!(text.is_empty() || text.ends_with('\n'), "all lines are whole");
        json_lines(&text)
    }

    /// Everything that it has read is accounted for: each line of it has a line in the ledger, each broken one is kept, and
    /// the sums are the ledger's. `alerts` is all that it has written to standard output.
    fn check_account(&self, read: &str, alerts: &str) {
        let (ledger, rejects) = (self.lines("ledger"), self.lines("rejects"));
        let lines: Vec<&str> = read.lines().collect();
        assert_eq!(ledger.len(), lines.len(), "{}", self.stderr);
        let broken: Vec<&str> =
            lines.iter().copied().filter(|line| serde_json::from_str::<Value>(line).is_err()).collect();
        let kept: Vec<&str> = rejects.iter().map(|line| line["record"].as_str().expect("a text")).collect();
        assert_eq!(kept, broken, "{}", self.stderr);
        assert!(alerts.is_empty() || alerts.ends_with('\n'), "all lines are whole");
        Run::of(self.code, alerts, &self.stderr, ledger, rejects).check_account();
    }
}

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
fn with_nobody_to_read_alerts_the_next_one_ends_it() {
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
fn a_reader_of_alerts_that_goes_costs_no_line_of_the_ledger() {
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
fn a_record_that_is_half_written_when_the_signal_comes_is_judged_on_what_is_whole_and_kept() {
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
fn a_named_pipe_is_read_until_nobody_writes_to_it() {
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
