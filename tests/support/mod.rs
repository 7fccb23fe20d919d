//! What the end-to-end tests share: the built command, and the account that every run must close.

mod account;
pub(crate) mod api_server;
pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod endpoint;
pub(crate) mod envelopes;
mod live;
pub(crate) mod nats;
mod packages;
#[path = "../../host/cli/benches/support/records.rs"]
pub(crate) mod records;
pub(crate) mod seen;
pub(crate) mod service;

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

pub(crate) use live::{FIRST, Live, SECOND, history, live, pairs, pinned, said};
pub(crate) use packages::{
    Does, OPEN_MANIFEST, VERSIONED, all_hostile, component, hostile, hostile_component, package, project, record,
    slow_to_check, spec, version, version_that_fails, versioned_spec,
};
use serde_json::Value;

/// The two rules.
pub(crate) const NODEPORT: &str = "Kubernetes.Service.NodePort.Deployed";
pub(crate) const SYSTEM_PRINCIPAL: &str = "Kubernetes.System.Principal.PublicIP";

/// The tokens of JSON's structure, which mutations put anywhere.
pub(crate) const JSON_TOKENS: [&[u8]; 8] = [b"{", b"}", b"[", b"]", b"\"", b"\\", b",", b":"];

/// The path of a sample, as an argument.
pub(crate) fn sample(name: &str) -> String {
    project("fixtures/samples").join(name).to_str().expect("UTF-8").to_owned()
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    /// Whatever the test is about, the account that was printed must add up.
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).expect("standard error is UTF-8");
        account::check_printed(&stderr);
        let stdout = String::from_utf8(output.stdout).expect("standard output is UTF-8");
        Self { code: output.status.code(), stdout, stderr }
    }
}

/// Starts the command with all its ends in our hands.
pub(crate) fn spawn<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the command starts")
}

/// Runs the command with nothing on standard input.
pub(crate) fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Ended {
    run_with_input(args, b"")
}

/// Runs the command with these bytes on standard input.
pub(crate) fn run_with_input<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>, input: &[u8]) -> Ended {
    let mut child = spawn(args);
    let mut stdin = child.stdin.take().expect("standard input is piped");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command that ends before it has read everything closes the pipe, which is its right.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("the command ends").into()
    })
}

/// The lines of a file of JSON lines.
pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The text that a value is.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// What `portcullis run` made of an input, with the account checked.
pub(crate) struct Run {
    pub(crate) ended: Ended,
    pub(crate) alerts: Vec<Value>,
    pub(crate) ledger: Vec<Value>,
    pub(crate) rejects: Vec<Value>,
}

/// The native code of rules that many tests run. To compile it each time would be most of their work.
static CACHE: LazyLock<String> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => panic!("{}: {error}", folder.display()),
        _ => folder.to_str().expect("UTF-8").to_owned(),
    }
});

/// Runs `portcullis run` on an input and checks that its account closes: every record has one line in the ledger and one
/// outcome, every subscribed rule one verdict, every alert one line, everything that is wrong a line in the rejects, and
/// the printed sums are the ledger's.
pub(crate) fn run_accounted(input: &[u8], more_args: &[&str]) -> Run {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (ledger, rejects) = (folder.path().join("ledger"), folder.path().join("rejects"));
    let mut args = vec!["run", "-", "--format", "ndjson"];
    args.extend(["--ledger", ledger.to_str().expect("UTF-8"), "--rejects", rejects.to_str().expect("UTF-8")]);
    if !more_args.contains(&"--cache") {
        args.extend(["--cache", &**CACHE]);
    }
    args.extend(more_args);
    let ended = run_with_input(args, input);
    let read = |path| json_lines(&std::fs::read_to_string(path).expect(&ended.stderr));
    let (ledger, rejects) = (read(&ledger), read(&rejects));
    let run = Run { alerts: json_lines(&ended.stdout), ledger, rejects, ended };
    run.check_account();
    run
}

impl Run {
    /// What a run that somebody else has driven has come to.
    pub(crate) fn of(code: Option<i32>, stdout: &str, stderr: &str, ledger: Vec<Value>, rejects: Vec<Value>) -> Self {
        let ended = Ended { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        Self { alerts: json_lines(stdout), ledger, rejects, ended }
    }

    /// What a rule said about a record.
    pub(crate) fn verdict(&self, n: usize, rule: &str) -> &str {
        self.ledger[n]["rules"][rule]["verdict"].as_str().unwrap_or("none")
    }
}

/// The embedded packages, written out by the command.
pub(crate) fn exported() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ended = run([OsStr::new("export"), folder.path().as_os_str()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let files = ended.stdout.lines().map(PathBuf::from).filter(|file| file.parent() == Some(folder.path())).collect();
    (folder, files)
}

/// What takes both rules into a pipeline, as the command writes it out.
pub(crate) fn pipeline(name: &str) -> Vec<u8> {
    let (folder, _) = exported();
    std::fs::read(folder.path().join("pipelines").join(name).with_extension("wasm")).expect("exported")
}

/// A figure of a process, in the unit that the kernel gives it in.
#[cfg(target_os = "linux")]
pub(crate) fn status(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

/// Waits until a process has been checking a package for half a second.
#[cfg(target_os = "linux")]
pub(crate) fn wait_for_check(process: u32) {
    /// The kernel's unit of processor time is 10 ms on all common machines.
    const HALF_A_SECOND: u64 = 50;
    let processor_time = |task: &Path| -> Option<u64> {
        let stat = std::fs::read_to_string(task.join("stat")).ok()?;
        // The name is cut to 15 bytes. `utime` is the 14th field.
        let (_, fields) = stat.split_once("(portcullis-acti) ")?;
        fields.split(' ').nth(11)?.parse().ok()
    };
    service::wait_until("a package is checked", || {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("the process lives");
        tasks.flatten().any(|task| processor_time(&task.path()).is_some_and(|time| time >= HALF_A_SECOND))
    });
}
