//! The command as a child with pipes.

use std::fs::{self};
use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Read as _, Write, pipe};
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
pub(super) const PATIENCE: Duration = Duration::from_mins(5);

/// A record that the NodePort rule matches, or misses narrowly.
pub(super) fn record(n: usize, matches: bool) -> String {
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
pub(super) fn streamed(n: usize) -> String {
    match n % 16 {
        3 => format!("broken {n}\n"),
        n_of_16 => record(n, n_of_16 == 7),
    }
}

/// The command as a child, and both ends of the pipe that it reads from: what it has not read is still there when it has
/// ended, so that what it has read is known to the byte.
pub(super) struct Piped {
    pub(super) folder: tempfile::TempDir,
    pub(super) child: Child,
    pub(super) stdin: Option<PipeWriter>,
    pub(super) unread: PipeReader,
    pub(super) stdout: Option<BufReader<ChildStdout>>,
    pub(super) stderr: ChildStderr,
    pub(super) _alive: Sender<()>,
}

impl Piped {
    pub(super) fn start(more_args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(["run", "-"]).arg("--ledger").arg(folder.path().join("ledger"));
        command.arg("--rejects").arg(folder.path().join("rejects")).args(more_args);
        Self::start_command(command, folder)
    }

    /// Starts a command that keeps its ledger and its rejects in this folder.
    pub(super) fn start_command(mut command: Command, folder: tempfile::TempDir) -> Self {
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

    pub(super) fn write(&mut self, text: &str) {
        self.stdin.as_mut().expect("it is open").write_all(text.as_bytes()).expect("there is room");
    }

    /// The next line that it writes.
    pub(super) fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().expect("it is open").read_line(&mut line).expect("it writes UTF-8");
        assert!(line.ends_with('\n'), "a line is whole: {line:?}");
        line
    }

    /// Waits until it has read everything that was written.
    pub(super) fn wait_until_read(&self) {
        let began = Instant::now();
        while rustix::io::ioctl_fionread(&self.unread).expect("it is a pipe") > 0 {
            assert!(began.elapsed() < PATIENCE, "it does not read");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it lives");
    }

    /// Writes the stream as fast as it is taken, from a thread of its own.
    pub(super) fn write_stream(&mut self) -> Writing {
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
    pub(super) fn end(mut self) -> Ending {
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
pub(super) struct Writing {
    pub(super) stops: Arc<AtomicBool>,
    pub(super) thread: JoinHandle<String>,
}

impl Writing {
    /// What of the stream the child has read, now that it has ended.
    pub(super) fn read_by(self, ending: &mut Ending) -> String {
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
pub(super) struct Ending {
    pub(super) folder: tempfile::TempDir,
    pub(super) unread: PipeReader,
    pub(super) code: Option<i32>,
    /// What it has written to standard output that had not been read yet.
    pub(super) rest: String,
    pub(super) stderr: String,
}

impl Ending {
    pub(super) fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join(name)).expect("it was written");
        assert!(text.is_empty() || text.ends_with('\n'), "all lines are whole");
        json_lines(&text)
    }

    /// Everything that it has read is accounted for: each line of it has a line in the ledger, each broken one is kept, and
    /// the sums are the ledger's. `alerts` is all that it has written to standard output.
    pub(super) fn check_account(&self, read: &str, alerts: &str) {
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
