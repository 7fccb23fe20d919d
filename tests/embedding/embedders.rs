//! Other programs that judge with what `portcullis export` writes: those in `examples` and the library's own example give,
//! on the same records, the alerts that the command gives.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Ended, NODEPORT, SYSTEM_PRINCIPAL, exported, json_lines, project, run_accounted, sample, text};

const NODE: &str = "Node.js 20 or later with npm, which ./test installs";
const PYTHON: &str = "python3 with venv, which ./test installs";

/// A copy of an example's folder with the exported packages beside it, where its steps can be followed.
struct Example {
    folder: tempfile::TempDir,
    exported: tempfile::TempDir,
    /// What to do where a program is missing.
    install: &'static str,
}

impl Example {
    fn new(name: &str, install: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for entry in fs::read_dir(project("examples").join(name)).expect("the example") {
            let entry = entry.expect("an entry");
            // What somebody has installed or made there is in folders.
            if entry.file_type().expect("a type").is_file() {
                fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("copied");
            }
        }
        Self { folder, exported: exported().0, install }
    }

    fn detector(&self) -> PathBuf {
        self.exported.path().join("pipelines/detector.wasm")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start<A: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, args: &[A]) -> Ended {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        let output = command.output().unwrap_or_else(|error| {
            let (program, install) = (program.display(), self.install);
            panic!("{program} cannot be started: {error}. This test needs {install}")
        });
        output.into()
    }

    /// A step that must succeed.
    fn step<A: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, args: &[A]) -> Ended {
        let name = program.as_ref().display().to_string();
        let ended = self.start(program, args);
        let install = self.install;
        assert_eq!(ended.code, Some(0), "{name} failed; it needs {install}\n{}{}", ended.stdout, ended.stderr);
        ended
    }
}

/// How many records had which outcome.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcomes {
    evaluated: u64,
    ignored: u64,
    rejected: u64,
}

impl Outcomes {
    fn of<'n>(names: impl IntoIterator<Item = (&'n str, u64)>) -> Self {
        let mut outcomes = Self::default();
        for (name, count) in names {
            match name {
                "evaluated" => outcomes.evaluated += count,
                "ignored" => outcomes.ignored += count,
                // All errors of `detect` but one are of what cannot be read.
                _ => outcomes.rejected += count,
            }
        }
        outcomes
    }

    /// What a program that calls the detector has counted, by the names of its errors: its first line of JSON.
    fn counted(ended: &Ended) -> Self {
        let line = ended.stderr.lines().find(|line| line.starts_with('{')).expect(&ended.stderr);
        let counts: Value = serde_json::from_str(line).expect("JSON");
        let counts = counts.as_object().expect("an object");
        Self::of(counts.iter().map(|(name, count)| (name.as_str(), count.as_u64().expect("a number"))))
    }
}

/// How a program finds records in a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// Each line is one.
    Lines,
    /// Also in what is cut off.
    AsTheCommand,
}

/// Shows a program all samples, and the corpus, and compares.
fn gives_what_the_command_gives(reads: Reads, program: impl Fn(&Path) -> (Vec<Value>, Outcomes)) {
    for cloud in ["eks", "aks", "gke", "broken"] {
        let file = PathBuf::from(sample(&format!("{cloud}.ndjson")));
        let (alerts, outcomes) = program(&file);
        let records = fs::read(&file).expect("the sample");
        let run = run_accounted(&records, &[]);
        assert_eq!(alerts, of_any_tenant(run.alerts), "{cloud}");
        if cloud == "broken" && reads == Reads::Lines {
            let lines = String::from_utf8(records).expect("UTF-8").lines().count() as u64;
            // The first is cut off, and judged on what is whole.
            assert_eq!((outcomes.evaluated, outcomes.ignored + outcomes.rejected), (1, lines - 1));
        } else {
            assert_eq!(outcomes, of_ledger(&run.ledger), "{cloud}");
        }
    }

    let file = project("fixtures/parity/events.ndjson");
    let (alerts, outcomes) = program(&file);
    let expected = fs::read_to_string(project("fixtures/parity/expected.ndjson")).expect("the expectations");
    let expected = json_lines(&expected);
    assert_eq!(outcomes, of_ledger(&expected));
    // Of one record, in the order of the rules' ids.
    let said = |line: &Value, key: &str, rule| line[key].as_bool().expect("a verdict").then_some(rule);
    let rules = expected.iter().flat_map(|line| {
        [said(line, "nodeport", NODEPORT), said(line, "system_principal", SYSTEM_PRINCIPAL)].into_iter().flatten()
    });
    assert_eq!(alerts.iter().map(|alert| text(&alert["rule_id"])).collect::<Vec<_>>(), rules.collect::<Vec<_>>());
    let run = run_accounted(&fs::read(&file).expect("the corpus"), &[]);
    assert!(alerts == of_any_tenant(run.alerts), "another alert than the command's");
}

fn of_ledger(lines: &[Value]) -> Outcomes {
    Outcomes::of(lines.iter().map(|line| (line["outcome"].as_str().expect("an outcome"), 1)))
}

/// The detector knows no tenants.
fn of_any_tenant(mut alerts: Vec<Value>) -> Vec<Value> {
    for alert in &mut alerts {
        assert_eq!(alert.as_object_mut().expect("an object").shift_remove("tenant"), Some("default".into()));
    }
    alerts
}

#[test]
#[ignore = "needs Node.js and npm: ./test"]
fn node_gives_what_the_command_gives_and_its_types_are_checked() {
    let example = Example::new("node", NODE);
    example.step("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    let rule = example.exported.path().join(format!("{NODEPORT}@1.0.0.wasm"));
    let transpile = ["run", "transpile", "--"].map(OsStr::new);
    for (component, name) in [(example.detector(), "detector"), (rule, "nodeport")] {
        let component = [component.as_os_str(), OsStr::new("--name"), OsStr::new(name)];
        example.step("npm", &transpile.into_iter().chain(component).collect::<Vec<_>>());
    }
    example.step("npm", &["run", "check"]);

    gives_what_the_command_gives(Reads::Lines, |file| {
        let ended = example.step("node", &[OsStr::new("detect.mjs"), file.as_os_str()]);
        (json_lines(&ended.stdout), Outcomes::counted(&ended))
    });
    let ended = example.step("node", &["rule.mjs"]);
    assert_eq!(ended.stdout, "severity of the spec: NodePort service prod/web deployed by ada\nno match\n");

    let program = fs::read_to_string(example.path("detect.mjs")).expect("the program");
    for (right, wrong) in [("finding.alertId", "finding.alertID"), ("records.detect(text)", "records.detect(record)")] {
        assert!(program.contains(right), "{right}");
        fs::write(example.path("detect.mjs"), program.replace(right, wrong)).expect("written");
        let ended = example.start("npm", &["run", "check"]);
        assert!(ended.code != Some(0) && ended.stdout.contains("detect.mjs"), "{wrong}: {ended:?}");
    }
}

#[test]
#[ignore = "needs Python and its venv: ./test"]
fn python_gives_what_the_command_gives() {
    let example = Example::new("python", PYTHON);
    example.step("python3", &["-m", "venv", ".venv"]);
    let python = example.path(".venv/bin/python");
    example.step(&python, &["-m", "pip", "install", "--quiet", "--requirement", "requirements.txt"]);
    gives_what_the_command_gives(Reads::Lines, |file| {
        let detector = example.detector();
        let ended = example.step(&python, &[OsStr::new("detect.py"), detector.as_os_str(), file.as_os_str()]);
        (json_lines(&ended.stdout), Outcomes::counted(&ended))
    });

    // What takes too much is a fault of one record, and the next has a fresh instance.
    let program = fs::read_to_string(example.path("detect.py")).expect("the program");
    let limits = [("FUEL = 10_000_000", "FUEL = 10_000"), ("FUEL_PER_BYTE = 2_000", "FUEL_PER_BYTE = 10")];
    let program = limits.into_iter().fold(program, |program, (wide, narrow)| {
        assert!(program.contains(wide), "{wide}");
        program.replace(wide, narrow)
    });
    fs::write(example.path("detect.py"), program).expect("written");
    let records = format!("{}[]\n", fs::read_to_string(sample("eks.ndjson")).expect("the sample"));
    fs::write(example.path("records.ndjson"), records).expect("written");
    let detector = example.detector();
    let ended = example.step(&python, &[OsStr::new("detect.py"), detector.as_os_str(), OsStr::new("records.ndjson")]);
    assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    assert!(ended.stderr.contains(r#"{"evaluated": 0, "fault": 12, "not-an-object": 1}"#), "{}", ended.stderr);
    assert!(ended.stderr.contains("record 1: wasm trap: all fuel consumed by WebAssembly\n"), "{}", ended.stderr);
}

#[test]
fn the_librarys_example_gives_what_the_command_gives() {
    let program = Path::new(env!("CARGO_BIN_EXE_portcullis")).with_file_name("examples").join("detect");
    let start = |args: &[&OsStr]| -> Ended {
        let output = Command::new(&program).args(args).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| {
            panic!("{}: {error}. This test needs what cargo test builds besides tests", program.display())
        });
        let ended = Ended::from(output);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended
    };
    gives_what_the_command_gives(Reads::AsTheCommand, |file| {
        let ended = start(&[file.as_os_str()]);
        let line = ended.stderr.lines().find_map(|line| line.strip_prefix("default: ")).expect(&ended.stderr);
        let counts = line.split(", ").filter_map(|count| count.split_once(' '));
        let outcomes = Outcomes::of(counts.map(|(count, name)| (name, count.parse().expect("a number"))));
        (of_any_tenant(json_lines(&ended.stdout)), outcomes)
    });

    // Each tenant's records are judged for it, as the command does; what nobody claims is shown to nobody's rules.
    let mut all = Vec::new();
    for cloud in ["eks", "aks", "gke"] {
        all.extend(fs::read(sample(&format!("{cloud}.ndjson"))).expect("the sample"));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, config) = (folder.path().join("records.ndjson"), folder.path().join("config.toml"));
    fs::write(&file, &all).expect("written");
    let tenants = "[[tenants]]\nname = \"acme\"\nrecords = [{ kind = \"Event\" }]\n\
                   [[tenants]]\nname = \"globex\"\nrecords = [{ category = \"kube-audit*\" }]\n";
    fs::write(&config, tenants).expect("written");
    let ended = start(&[file.as_os_str(), OsStr::new("acme:kind=Event"), OsStr::new("globex:category=kube-audit*")]);
    let run = run_accounted(&all, &["--config", config.to_str().expect("UTF-8")]);
    assert_eq!(json_lines(&ended.stdout), run.alerts);
    let of = |name: &str| run.alerts.iter().filter(|alert| alert["tenant"] == name).count();
    assert!(of("acme") > 0 && of("globex") > 0 && of("acme") + of("globex") == run.alerts.len());
    assert!(ended.stderr.contains("nobody: 0 evaluated"), "{}", ended.stderr);
}
