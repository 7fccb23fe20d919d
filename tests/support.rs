//! What the end-to-end tests share: the built command, and the account that every run must close.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The two rules.
pub(crate) const NODEPORT: &str = "Kubernetes.Service.NodePort.Deployed";
pub(crate) const SYSTEM_PRINCIPAL: &str = "Kubernetes.System.Principal.PublicIP";

/// A file or folder of the project.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

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
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
        }
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

/// What `portcullis run` made of an input, with the account checked.
pub(crate) struct Run {
    pub(crate) ended: Ended,
    pub(crate) alerts: Vec<Value>,
    pub(crate) ledger: Vec<Value>,
    pub(crate) rejects: Vec<Value>,
}

/// Runs `portcullis run` on an input and checks that its account closes: every record has one line in the ledger and one
/// outcome, every subscribed rule one verdict, every alert one line, everything that is wrong a line in the rejects, and
/// the printed sums are the ledger's.
pub(crate) fn run_accounted(input: &[u8], more_args: &[&str]) -> Run {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (ledger, rejects) = (folder.path().join("ledger"), folder.path().join("rejects"));
    let mut args = vec!["run", "-", "--format", "ndjson"];
    args.extend(["--ledger", ledger.to_str().expect("UTF-8"), "--rejects", rejects.to_str().expect("UTF-8")]);
    args.extend(more_args);
    let ended = run_with_input(args, input);
    let read = |path| json_lines(&std::fs::read_to_string(path).expect(&ended.stderr));
    let (ledger, rejects) = (read(&ledger), read(&rejects));
    let run = Run { alerts: json_lines(&ended.stdout), ledger, rejects, ended };
    run.check_account();
    run
}

impl Run {
    fn check_account(&self) {
        let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
        let mut verdicts: BTreeMap<(String, String), BTreeMap<&str, u64>> = BTreeMap::new();
        let mut malformed = 0;
        let mut wrong = Vec::new();
        for (n, line) in self.ledger.iter().enumerate() {
            assert_eq!(line["n"], n, "the ledger counts records from 0");
            let outcome = line["outcome"].as_str().expect("an outcome");
            *outcomes.entry(outcome).or_default() += 1;
            let mut faulted = false;
            if let Some(rules) = line["rules"].as_object() {
                for (rule, entry) in rules {
                    let version = entry["version"].as_str().expect("a version").to_owned();
                    let verdict = entry["verdict"].as_str().expect("a verdict");
                    faulted |= verdict == "fault";
                    *verdicts.entry((rule.clone(), version)).or_default().entry(verdict).or_default() += 1;
                }
            }
            let has_malformed = line["malformed"].as_array().is_some_and(|paths| !paths.is_empty());
            malformed += u64::from(has_malformed);
            assert_eq!(line.get("rules").is_some(), outcome == "evaluated");
            assert_eq!(line.get("reason").is_some(), outcome == "rejected");
            if outcome == "rejected" || has_malformed || faulted {
                wrong.push(n);
            }
        }
        let rejects: Vec<usize> = self.rejects.iter().map(|line| index(&line["n"])).collect();
        assert_eq!(rejects, wrong, "the rejects hold what is wrong, and nothing else");

        let count = |outcome| outcomes.get(outcome).copied().unwrap_or(0);
        let (evaluated, ignored, rejected) = (count("evaluated"), count("ignored"), count("rejected"));
        assert_eq!(evaluated + ignored + rejected, self.ledger.len() as u64);
        let summary = format!(
            "{} records = {evaluated} evaluated ({malformed} with malformed fields) + {ignored} ignored + {rejected} rejected\n",
            self.ledger.len()
        );
        assert!(self.ended.stderr.contains(&summary), "{summary} is not in {}", self.ended.stderr);
        let mut alerts = 0;
        for ((rule, version), counts) in &verdicts {
            let of = |verdict| counts.get(verdict).copied().unwrap_or(0);
            let line = format!(
                "{rule} {version}: {evaluated} events = {} alert + {} excluded + {} no-match + {} skipped + {} fault\n",
                of("alert"),
                of("excluded"),
                of("no-match"),
                of("skipped"),
                of("fault")
            );
            assert!(self.ended.stderr.contains(&line), "{line} is not in {}", self.ended.stderr);
            alerts += of("alert");
        }
        assert_eq!(alerts, self.alerts.len() as u64, "every alert has a line");
    }

    /// What a rule said about a record.
    pub(crate) fn verdict(&self, n: usize, rule: &str) -> &str {
        self.ledger[n]["rules"][rule]["verdict"].as_str().unwrap_or("none")
    }
}

fn index(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("a number")).expect("a small number")
}

/// The embedded packages, written out by the command.
pub(crate) fn exported() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ended = run([OsStr::new("export"), folder.path().as_os_str()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let files = ended.stdout.lines().map(PathBuf::from).collect();
    (folder, files)
}

/// A package of a component, a spec and a manifest.
pub(crate) fn package(component: &[u8], spec: &str, manifest: &str) -> Vec<u8> {
    use wasm_encoder::{ComponentSection as _, CustomSection};
    let mut package = component.to_vec();
    for (name, data) in [("portcullis:spec", spec), ("portcullis:manifest", manifest)] {
        CustomSection { name: name.into(), data: data.as_bytes().into() }.append_to_component(&mut package);
    }
    package
}

/// A spec of a rule that subscribes to EKS records.
pub(crate) fn spec(rule_id: &str) -> String {
    format!(
        "AnalysisType: rule\nRuleID: {rule_id}\nEnabled: true\nFilename: a.py\nLogTypes: [Amazon.EKS.Audit]\nSeverity: Low\n"
    )
}

/// A manifest that lets every event through.
pub(crate) const OPEN_MANIFEST: &str = r#"{"version":"0.1.0","prefilter":{}}"#;

/// A component of our world, of a core module in WebAssembly's text format that exports what the world's encoding asks
/// for: `memory`, `cabi_realloc` and `portcullis:detection/rule@1.0.0#evaluate`.
pub(crate) fn component(core: &str) -> Vec<u8> {
    let mut module = wat::parse_str(core).expect("the module's text is right");
    let mut resolve = wit_parser::Resolve::default();
    let (wit, _) = resolve.push_path(project("wit")).expect("the WIT is right");
    let world = resolve.select_world(&[wit], Some("detection")).expect("the world");
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8)
        .expect("the module takes the world");
    wit_component::ComponentEncoder::default()
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .expect("the module fits the world")
}

/// A hostile component of `fixtures/hostile/` as a package that is shown every event.
pub(crate) fn hostile(name: &str) -> Vec<u8> {
    let core = std::fs::read_to_string(project("fixtures/hostile").join(name).with_extension("wat")).expect(name);
    package(&component(&core), &spec(&format!("Hostile.{name}")), OPEN_MANIFEST)
}
