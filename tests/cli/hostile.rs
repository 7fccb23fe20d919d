//! Every wall, with a component of `fixtures/hostile` that runs into it next to the two real rules: it costs its own
//! verdict and nothing else.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use portcullis::rule_set::Shadow;
use portcullis::{Engine, Fault, Judge, Judgement, Limits, Package, RuleSet, Verdict, embedded};

use crate::support::{
    OPEN_MANIFEST, Run, all_hostile, hostile, hostile_component, package, project, run, run_accounted, run_with_input,
    spawn, spec, status,
};

/// A record that the NodePort rule matches.
const RECORD: &[u8] = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create","user":{"username":"ada"},
    "requestReceivedTimestamp":"2020-01-01T00:00:00Z","objectRef":{"resource":"services"},"requestObject":{"spec":{"type":"NodePort"}}}"#;

/// What each component comes to, event after event; the last goes on for ever.
const EXPECTED: &[(&str, &[&str])] = &[
    (
        "bad-context",
        &[
            "answered with a context that is not a JSON object: invalid type: sequence, expected an object at line 1 column 0",
        ],
    ),
    ("bad-discriminant", &["trapped: invalid option discriminant"]),
    ("bad-pointer", &["trapped: pointer out of bounds of memory"]),
    ("bad-realloc", &["trapped: realloc return: beyond end of memory"]),
    ("bad-severity", &["trapped: unexpected discriminant: 9"]),
    ("bad-text-pointer", &["trapped: string pointer/length out of bounds of memory"]),
    ("bad-utf8", &["trapped: invalid utf-8 sequence of 1 bytes from index 0"]),
    ("empty-title", &["answered with an empty title"]),
    ("floods", &["alert", "alert", "alert", "matched beyond its limit of 3 alerts in the event's minute"]),
    ("grows", &["requested 16842752 bytes of memory, more than its limit of 16780"]),
    ("grows-at-start", &["requested 16842752 bytes of memory, more than its limit of 16780"]),
    ("grows-linked-memory", &["requested 16842752 bytes of memory, more than its limit of 16780"]),
    ("grows-table", &["requested a table of 10001 elements, more than its limit of 10000"]),
    ("large-alert", &["answered with an alert of 360022 bytes, more than its limit of 262144"]),
    ("large-contexts", &["alert", "alert", "alert", "matched beyond its limit of 3 alerts in the event's minute"]),
    ("large-table", &["requested a table of 1000000 elements, more than its limit of 10000"]),
    ("large-title", &["answered with more than its limit of 65536 bytes"]),
    ("long-names", &["trapped: wasm `unreachable` instruction executed, in \u{1b}[31maaaa"]),
    ("looks-for-leftovers", &["no-match"]),
    ("loops", &["ran longer than its limit of 10ms"]),
    ("loops-at-start", &["ran longer than its limit of 10ms"]),
    (
        "loops-every-second-time",
        &["no-match", "ran longer than its limit of 10ms", "no-match", "ran longer than its limit of 10ms"],
    ),
    ("loops-in-post-return", &["ran longer than its limit of 10ms"]),
    ("loops-in-realloc", &["ran longer than its limit of 10ms"]),
    ("many-instances", &["trapped: resource limit exceeded: instance count too high at 9"]),
    ("negative-length", &["trapped: string pointer/length out of bounds of memory"]),
    ("recurses", &["used up its stack"]),
    ("recurses-at-start", &["used up its stack"]),
    ("recurses-in-realloc", &["used up its stack"]),
    ("remembers", &["no-match"]),
    ("remembers-size", &["alert", "alert", "alert", "matched beyond its limit of 3 alerts in the event's minute"]),
    ("second-memory", &["trapped: resource limit exceeded: memory count too high at 2"]),
    ("spies", &["alert", "alert", "alert", "matched beyond its limit of 3 alerts in the event's minute"]),
    ("starts-large", &["requested 1073741824 bytes of memory, more than its limit of 16780"]),
    ("traps", &["trapped: wasm `unreachable` instruction executed"]),
    (
        "traps-every-second-time",
        &["no-match", "trapped: wasm `unreachable` instruction executed", "no-match", "trapped"],
    ),
    ("traps-in-post-return", &["trapped: wasm `unreachable` instruction executed"]),
    ("unaligned-pointer", &["trapped: return pointer not aligned"]),
];

/// Components that the gate keeps out.
const REFUSED: &[&str] = &["keeps-resources", "nested-components", "two-memories"];

/// An engine, and the two rules compiled for it once for all tests.
fn real_rules() -> (Engine, Vec<Package>) {
    static RULES: LazyLock<(Engine, Vec<Package>)> = LazyLock::new(|| {
        let engine = Engine::new().expect("an engine");
        let packages = embedded::packages(&engine).expect("the embedded rules");
        (engine, packages)
    });
    RULES.clone()
}

/// A judge with a hostile component and the two rules.
fn judge_with(name: &str) -> Judge {
    let (engine, mut packages) = real_rules();
    packages.push(Package::load(&engine, &hostile(name), name).expect("a package"));
    let rules = Arc::new(RuleSet::new(packages).expect("three rules"));
    Judge::new(rules, Limits { alerts_per_minute: 3, ..Limits::default() })
}

/// Judges the record four times over, and checks that the two rules are as they are without the component. What the
/// component came to, in words.
fn judged(judge: &mut Judge) -> Vec<String> {
    let verdict = |n| {
        let Judgement::Evaluated { verdicts, .. } = judge.record(RECORD) else { panic!("not evaluated") };
        let others: Vec<&str> = verdicts.all().skip(1).map(|(_, verdict)| verdict.as_str()).collect();
        let nodeport = if n < 3 { "alert" } else { "fault" };
        assert_eq!(others, [nodeport, "skipped"], "the other rules judge as ever");
        let hostile = verdicts.into_judged().swap_remove(0);
        assert!(hostile.package.rule_id().starts_with("Hostile."));
        match hostile.verdict {
            Verdict::Fault(fault) => fault.to_string(),
            other => other.as_str().to_owned(),
        }
    };
    (0..4).map(verdict).collect()
}

/// All of them, each on a thread with a stack of so many bytes.
fn check_all(stack: usize) {
    for (name, expected) in EXPECTED {
        let mut judge = judge_with(name);
        let thread = std::thread::Builder::new().stack_size(stack).spawn(move || judged(&mut judge));
        let found = thread.expect("a thread").join().expect("no panic");
        for (n, found) in found.iter().enumerate() {
            let expected = expected.get(n).or(expected.last()).expect("one at least");
            assert!(found.starts_with(expected), "{name}, event {n}: expected {expected}, found {found}");
            assert!(found.len() < 600, "{name}: a reason is for a person to read: {found}");
        }
    }
}

#[test]
fn every_hostile_component_is_expected() {
    let mut known: Vec<&str> = EXPECTED.iter().map(|(name, _)| *name).chain(REFUSED.iter().copied()).collect();
    known.sort_unstable();
    assert_eq!(known, all_hostile());
}

#[test]
fn a_hostile_rule_costs_its_own_verdict_on_an_ordinary_thread() {
    check_all(2 << 20);
}

/// Deep recursion reaches the end of the rule's stack, and never that of the thread.
#[test]
fn a_hostile_rule_costs_its_own_verdict_on_a_thread_with_a_short_stack() {
    check_all(192 << 10);
}

#[test]
fn a_hostile_rule_costs_its_own_verdict_on_a_thread_with_a_long_stack() {
    check_all(64 << 20);
}

/// The verdict of one component on the record.
fn one(name: &str, limits: Limits, stack: usize) -> Verdict {
    let engine = Engine::with_stack(stack).expect("an engine");
    let package = Package::load(&engine, &hostile(name), name).expect("a package");
    let mut judge = Judge::new(Arc::new(RuleSet::new(vec![package]).expect("one rule")), limits);
    let Judgement::Evaluated { verdicts, .. } = judge.record(RECORD) else { panic!("not evaluated") };
    verdicts.into_judged().remove(0).verdict
}

/// No limit is the one and only value that it can have.
#[test]
fn each_limit_is_where_it_is_set() {
    let fault = |name, limits| match one(name, limits, Engine::STACK) {
        Verdict::Fault(fault) => fault.to_string(),
        other => other.as_str().to_owned(),
    };
    let limits = Limits::default();
    let time = Duration::from_millis(30);
    assert_eq!(fault("loops", Limits { time, ..limits }), "ran longer than its limit of 30ms");
    let wanted = "requested 1114112 bytes of memory, more than its limit of 1052056";
    assert_eq!(fault("grows", Limits { memory: 1 << 20, ..limits }), wanted);
    assert_eq!(
        fault("starts-large", Limits { memory: 1 << 30, ..limits }),
        "trapped: wasm `unreachable` instruction executed"
    );
    assert_eq!(
        fault("large-table", Limits { table_elements: 1_000_000, ..limits }),
        "trapped: wasm `unreachable` instruction executed"
    );
    assert_eq!(fault("floods", Limits { answer: 5, ..limits }), "answered with more than its limit of 5 bytes");
    assert_eq!(
        fault("floods", Limits { alert: 9, ..limits }),
        "answered with an alert of 14 bytes, more than its limit of 9"
    );
    assert_eq!(fault("large-alert", Limits { alert: 1 << 20, ..limits }), "alert");
    assert_eq!(
        fault("floods", Limits { alerts_per_minute: 0, ..limits }),
        "matched beyond its limit of 0 alerts in the event's minute"
    );
    for stack in [64 << 10, 2 << 20] {
        assert!(matches!(one("recurses", limits, stack), Verdict::Fault(Fault::Stack)), "{stack}");
    }
}

/// In shadow, a hostile component costs nothing but its shadow.
#[test]
fn a_hostile_candidate_in_shadow_changes_no_verdict() {
    let limits = Limits { alerts_per_minute: 3, ..Limits::default() };
    for (name, _) in EXPECTED {
        let (engine, packages) = real_rules();
        let spec = spec(packages[0].rule_id());
        let candidate = package(&hostile_component(name), &spec, r#"{"version":"9.9.9","prefilter":{}}"#);
        let candidate = Package::load(&engine, &candidate, name).expect("a package");
        let shadow = Shadow::new(candidate, 100);
        let rules = RuleSet::new(packages).expect("two rules").with_shadows(vec![shadow.clone()]);
        let mut judge = Judge::new(Arc::new(rules), limits);
        for n in 0..4 {
            let Judgement::Evaluated { verdicts, .. } = judge.record(RECORD) else { panic!("not evaluated") };
            let found: Vec<&str> = verdicts.all().map(|(_, verdict)| verdict.as_str()).collect();
            assert_eq!(found, [if n < 3 { "alert" } else { "fault" }, "skipped"], "{name}");
        }
    }
}

/// An instance answers this many events, wherever they come from, and ends with them.
#[test]
fn no_rule_keeps_state_between_instances() {
    let alerts = |events_per_instance| {
        let engine = Engine::new().expect("an engine");
        let package = Package::load(&engine, &hostile("remembers"), "remembers").expect("a package");
        let mut judge = Judge::new(
            Arc::new(RuleSet::new(vec![package]).expect("one rule")),
            Limits { events_per_instance, ..Limits::default() },
        );
        let is_alert = |_: &u32| {
            let Judgement::Evaluated { verdicts, .. } = judge.record(RECORD) else { panic!("not evaluated") };
            matches!(verdicts.judged()[0].verdict, Verdict::Alert(_))
        };
        (0..1000).filter(is_alert).collect::<Vec<u32>>()
    };
    assert!(alerts(256).is_empty());
    assert_eq!(alerts(257), [256, 513, 770], "the component alerts on the 257th event of an instance");
}

/// An instance that a large event has let grow beyond what a rule may hold does not stay for the next.
#[test]
fn memory_of_a_large_event_is_freed() {
    let engine = Engine::new().expect("an engine");
    let package = Package::load(&engine, &hostile("remembers-size"), "remembers-size").expect("a package");
    let mut sandbox = portcullis::sandbox::Sandbox::new(package, Limits { memory: 1 << 20, ..Limits::default() });
    let mut pages = |event: &str| {
        let answer = sandbox.evaluate(event).expect("an answer").expect("an alert");
        answer.title.len()
    };
    let large = "x".repeat(1 << 20);
    assert_eq!([pages(""), pages(""), pages("x")], [1, 1, 2]);
    assert_eq!([pages(&large), pages("x"), pages("x")], [17, 2, 2]);
}

/// The rules of a folder with all hostile packages and the two real ones.
fn folder_of_all() -> tempfile::TempDir {
    let (folder, _files) = crate::support::exported();
    for name in all_hostile().iter().filter(|name| !REFUSED.contains(&&***name)) {
        fs::write(folder.path().join(name).with_extension("wasm"), hostile(name)).expect("written");
    }
    folder
}

/// The ledger without the hostile rules.
fn without_hostile(run: &Run) -> Vec<serde_json::Value> {
    let mut ledger = run.ledger.clone();
    for line in &mut ledger {
        if let Some(rules) = line.get_mut("rules").and_then(serde_json::Value::as_object_mut) {
            rules.retain(|rule, _| !rule.starts_with("Hostile."));
        }
    }
    ledger
}

/// Grouped into incidents, too, the real rules say what they say alone.
#[test]
fn the_real_incidents_are_the_same_with_all_hostile_rules_loaded() {
    let folder = folder_of_all();
    let records = fs::read(project("fixtures/parity/events.ndjson")).expect("the corpus");
    let incidents = |more: &[&str]| -> Vec<String> {
        let args = [&["run", "--incidents", "--format", "ndjson", "--quiet"], more, &["-"]].concat();
        let ended = run_with_input(args, &records);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let lines = ended.stdout.lines().map(str::to_owned);
        lines.filter(|line| !line.contains("\"rule_id\":\"Hostile.")).collect()
    };
    let alone = incidents(&[]);
    assert!(!alone.is_empty());
    assert_eq!(incidents(&["--rules", folder.path().to_str().expect("UTF-8")]), alone);
}

/// Whoever tries out a package of a stranger gets an answer: `test`, `inspect` and `explain` neither hang nor fail.
#[test]
fn hostile_packages_can_be_tested_inspected_and_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::write(path("record.json"), RECORD).expect("written");
    for name in all_hostile() {
        let test = "Tests:\n  - {Name: any, ExpectedResult: false, Log: {p_log_type: Amazon.EKS.Audit, verb: get}}\n";
        let spec = spec(&format!("Hostile.{name}")) + test;
        fs::write(path("rule.wasm"), package(&hostile_component(&name), &spec, OPEN_MANIFEST)).expect("written");
        let is_refused = REFUSED.contains(&&*name);
        for args in [&["test"][..], &["inspect"], &["explain", &path("record.json"), "--rules"]] {
            let ended = run(args.iter().copied().chain([&*path("rule.wasm")]));
            let expected = match (args[0], is_refused) {
                (_, true) => &[3][..],
                ("test", _) => &[0, 1],
                _ => &[0],
            };
            assert!(ended.code.is_some_and(|code| expected.contains(&code)), "{name} {args:?}: {ended:?}");
            let shown = ended.stdout + &ended.stderr;
            assert!(shown.len() < 300_000, "{name} {args:?}: {} bytes", shown.len());
            assert!(!shown.contains('\u{1b}'), "{name} {args:?}: {shown:?}");
        }
    }
}

#[test]
fn the_real_rules_give_the_same_verdicts_with_all_hostile_rules_loaded() {
    let records = fs::read(project("fixtures/parity/events.ndjson")).expect("the corpus");
    let folder = folder_of_all();
    let run = run_accounted(&records, &["--rules", folder.path().to_str().expect("UTF-8")]);
    let alone = run_accounted(&records, &[]);
    for (with, alone) in without_hostile(&run).iter().zip(&alone.ledger) {
        assert_eq!(with, alone);
    }
    assert_eq!(run.ledger.len(), alone.ledger.len());
    let real = |run: &Run| -> Vec<String> {
        let alerts =
            run.alerts.iter().filter(|alert| !alert["rule_id"].as_str().expect("an id").starts_with("Hostile."));
        alerts.map(ToString::to_string).collect()
    };
    assert!(real(&run) == real(&alone), "an alert differs");
}

/// A command's peak memory in KB, after it has judged records so many times over with these packages.
#[cfg(target_os = "linux")]
fn peak_memory(rules: &Path, records: &[u8], times: usize) -> u64 {
    let rules = rules.to_str().expect("UTF-8");
    let mut child = spawn(["run", "--quiet", "--output", "/dev/null", "--rules", rules, "-"]);
    let (mut stdin, mut stderr) = (child.stdin.take().expect("piped"), child.stderr.take().expect("piped"));
    let reader = std::thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
    for _ in 0..times {
        stdin.write_all(records).expect("the command reads");
    }
    // All of it is in the pipe, so but for the pipe's length it has been judged, and the command can still be asked.
    let peak = status(child.id(), "VmHWM:");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
    reader.join().expect("no panic").expect("read");
    peak
}

/// 37 instances of at most 16 MiB, of which those that fill theirs are thrown away with every fault; and nothing of a
/// fault stays.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_bounded_with_all_hostile_rules_loaded() {
    let folder = folder_of_all();
    let records = fs::read(project("fixtures/parity/events.ndjson")).expect("the corpus");
    let [once, often] = [1, 5].map(|times| peak_memory(folder.path(), &records, times));
    assert!(once < 100_000, "{once} KB at most");
    assert!(often < once + 20_000, "{once} KB for the corpus once, {often} KB for five times as many records");
}

/// 2,000 alerts with contexts of 63 KB, which are 126 MB as text and 4.5 GB as values.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_bounded_whatever_a_rule_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("large-contexts.wasm"), hostile("large-contexts")).expect("written");
    let record = format!("{}\n", String::from_utf8_lossy(RECORD).replace('\n', ""));
    let peak = peak_memory(folder.path(), record.repeat(2_000).as_bytes(), 1);
    assert!(peak < 64 << 10, "{peak} KB at most");
}
