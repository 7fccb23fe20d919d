//! `portcullis run`: alerts at once, and clear words for what goes wrong.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{
    Ended, NODEPORT, SYSTEM_PRINCIPAL, json_lines, project, run, run_accounted, run_with_input, sample, spawn,
};

/// A record that the NodePort rule matches, with these members changed.
#[expect(clippy::needless_pass_by_value, reason = "a call with json! in it reads as one")]
fn nodeport_record(change: Value) -> Vec<u8> {
    let mut record = json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "verb": "create",
        "user": {"username": "ada"},
        "objectRef": {"resource": "services", "namespace": "prod", "name": "web"},
        "requestObject": {"spec": {"type": "NodePort"}},
    });
    for (key, value) in change.as_object().expect("an object") {
        record[key] = value.clone();
    }
    record.to_string().into_bytes()
}

fn line(mut record: Vec<u8>) -> Vec<u8> {
    record.push(b'\n');
    record
}

#[test]
fn the_samples_alert_as_text() {
    let files = ["eks.ndjson", "aks.ndjson", "gke.ndjson", "broken.ndjson"].map(sample);
    let args: Vec<String> = ["run", "--format", "text"].map(String::from).into_iter().chain(files).collect();
    let ended = run(args);
    assert_eq!(ended.code, Some(0));
    let lines = ended.stdout.lines().chain(ended.stderr.lines()).count();
    assert!(lines < 50, "{lines} lines: it fits on a screen");
    let folder = project("fixtures/samples");
    insta::assert_snapshot!(ended.stdout + &ended.stderr.replace(folder.to_str().expect("UTF-8"), "samples"));
}

#[test]
fn an_alert_is_one_line_of_json() {
    let ended = run(["run", &sample("eks.ndjson")]);
    let alerts = json_lines(&ended.stdout);
    insta::assert_snapshot!(serde_json::to_string_pretty(&alerts[0]).expect("JSON"));
    let ids: Vec<&Value> = alerts.iter().map(|alert| &alert["alert_id"]).collect();
    let again = run(["run", &sample("eks.ndjson")]);
    assert_eq!(again.stdout, ended.stdout, "the same input gives the same bytes");
    assert!((1..ids.len()).all(|n| !ids[..n].contains(&ids[n])), "ids differ: {ids:?}");
}

#[test]
fn every_sample_has_its_expected_verdicts() {
    let mut input = Vec::new();
    for name in ["eks.ndjson", "aks.ndjson", "gke.ndjson"] {
        input.extend(fs::read(sample(name)).expect("the sample"));
    }
    let run = run_accounted(&input, &[]);
    let verdicts: Vec<String> = (0..run.ledger.len())
        .map(|n| {
            let outcome = run.ledger[n]["outcome"].as_str().expect("an outcome");
            format!("{n} {outcome} {} {}", run.verdict(n, NODEPORT), run.verdict(n, SYSTEM_PRINCIPAL))
        })
        .collect();
    insta::assert_snapshot!(verdicts.join("\n"));
}

#[test]
fn alerts_are_written_immediately() {
    let mut child = spawn(["run", "-"]);
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    for _ in 0..3 {
        stdin.write_all(&line(nodeport_record(json!({})))).expect("the command reads");
        let mut alert = String::new();
        stdout.read_line(&mut alert).expect("an alert while the input is still open");
        assert_eq!(json_lines(&alert)[0]["rule_id"], NODEPORT);
    }
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn alerts_go_to_a_file_when_asked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("alerts.ndjson");
    let ended = run(["run", &sample("eks.ndjson"), "--output", output.to_str().expect("UTF-8")]);
    assert_eq!((ended.code, &*ended.stdout), (Some(0), ""));
    assert_eq!(fs::read_to_string(output).expect("written"), run(["run", &sample("eks.ndjson")]).stdout);
}

#[test]
fn large_and_deep_records_are_judged_like_any_other() {
    let filler = "x".repeat(10 << 20);
    let deep: Value = serde_json::from_str(&format!("{}{}", "[".repeat(100), "]".repeat(100))).expect("JSON");
    let mut input = line(nodeport_record(json!({"annotations": {"filler": filler}})));
    input.extend(line(nodeport_record(json!({"requestObject": {"filler": filler, "spec": {"type": "NodePort"}}}))));
    input.extend(line(nodeport_record(json!({"userAgent": "x".repeat(1 << 20)}))));
    let ten_thousand_deep = nodeport_record(json!({"requestObject": {"deep": deep, "spec": {"type": "NodePort"}}}));
    let ten_thousand_deep = String::from_utf8(ten_thousand_deep).expect("UTF-8");
    let more = |bracket: &str, times| bracket.repeat(times);
    input.extend(line(
        ten_thousand_deep
            .replace(&more("[", 100), &more("[", 10_000))
            .replace(&more("]", 100), &more("]", 10_000))
            .into_bytes(),
    ));
    let run = run_accounted(&input, &[]);
    for n in 0..4 {
        assert_eq!(run.verdict(n, NODEPORT), "alert", "record {n}");
    }
}

#[test]
fn a_record_over_the_limit_is_rejected_and_the_next_is_judged() {
    let mut input = vec![b'x'; (64 << 20) + 1];
    input.push(b'\n');
    input.extend(line(nodeport_record(json!({}))));
    let run = run_accounted(&input, &[]);
    assert_eq!(run.rejects[0]["reason"], "67108865 bytes long; the limit is 67108864");
    assert_eq!(run.rejects[0]["record"].as_str().map(str::len), Some(64 << 10), "its beginning is kept");
    assert_eq!(run.verdict(1, NODEPORT), "alert");
}

#[test]
fn unreadable_inputs_are_reported_before_anything_is_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("UTF-8");
    let failed = |file: &str| {
        let ended = run(["run", &sample("eks.ndjson"), file]);
        assert_eq!((ended.code, &*ended.stdout), (Some(4), ""));
        ended.stderr
    };
    let missing = format!("{path}/none");
    assert_eq!(
        failed(&missing),
        format!("portcullis: {missing}: cannot be read: No such file or directory (os error 2)\n")
    );
    assert_eq!(failed(path), format!("portcullis: {path}: is a folder; name the files in it, such as {path}/*\n"));
    let package = format!("{path}/rule.wasm");
    fs::write(&package, b"\0asm").expect("written");
    let message =
        format!("portcullis: {package}: is WebAssembly, not records; to use it as a rule: --rules {package}\n");
    assert_eq!(failed(&package), message);
    let ended = run(["run", "-", "-"]);
    assert_eq!((ended.code, &*ended.stderr), (Some(2), "portcullis: standard input (-) can be read only once\n"));
}

#[test]
fn a_file_without_permission_is_named() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::process::CommandExt as _;

    let folder = tempfile::tempdir().expect("a temporary folder");
    let may = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    let secret = folder.path().join("secret.ndjson");
    fs::write(&secret, "{}").expect("written");
    may(&secret, 0o000);
    // Permissions do not hold for root: as root, the command runs as nobody, from where nobody can read it.
    let binary = folder.path().join("portcullis");
    fs::copy(env!("CARGO_BIN_EXE_portcullis"), &binary).expect("copied");
    may(&binary, 0o755);
    may(folder.path(), 0o755);
    let mut command = Command::new(&binary);
    if fs::metadata(&secret).expect("it is there").uid() == 0 {
        command.uid(65534).gid(65534);
    }
    let ended: Ended = command.arg("run").arg(&secret).output().expect("the command runs").into();
    let message = format!("portcullis: {}: cannot be read: Permission denied (os error 13)\n", secret.display());
    assert_eq!((ended.code, ended.stderr), (Some(4), message));
}

#[test]
fn outputs_that_cannot_be_written_are_reported_before_anything_is_read() {
    for option in ["--output", "--rejects", "--ledger"] {
        let ended = run(["run", &sample("eks.ndjson"), option, "/nowhere/file"]);
        assert_eq!((ended.code, &*ended.stdout), (Some(4), ""));
        assert_eq!(
            ended.stderr,
            "portcullis: /nowhere/file: cannot be written: No such file or directory (os error 2)\n"
        );
    }
    let ended = run(["run", &sample("eks.ndjson"), "--output", "/dev/full"]);
    assert_eq!(ended.code, Some(4));
    assert!(ended.stderr.contains("/dev/full: cannot be written: No space left on device"), "{}", ended.stderr);
}

#[test]
fn an_output_never_overwrites_an_input_or_another_output() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::copy(sample("eks.ndjson"), path("in")).expect("copied");
    fs::create_dir(path("sub")).expect("made");
    fs::write(path("config"), "").expect("written");
    fs::hard_link(path("in"), path("hard")).expect("linked");
    fs::write(path("ranges"), r#"{"prefixes":[{"ip_prefix":"3.0.0.0/15"}]}"#).expect("written");
    fs::write(path("with-ranges"), "[enrichment]\ncloud-ranges = [\"sub/../ranges\"]\n").expect("written");
    for args in [
        vec!["run", &path("in"), "--ledger", &path("in")],
        vec!["run", &path("in"), "--ledger", &path("hard")],
        vec!["run", &path("in"), "--config", &path("with-ranges"), "--ledger", &path("ranges")],
        vec!["run", &path("in"), "--ledger", &path("new"), "--rejects", &path("sub/../new")],
        vec!["run", &path("in"), "--config", &path("config"), "--ledger", &path("config")],
        vec!["run", &path("in"), "--output", &path("sub/../in")],
        vec!["run", &path("in"), "--ledger", &path("new"), "--rejects", &path("new")],
    ] {
        let ended = run(&args);
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{args:?}");
        assert!(
            ended.stderr.ends_with(": is given twice; inputs and outputs must be different files\n"),
            "{}",
            ended.stderr
        );
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(["run", "--output", &path("in")]).stdin(fs::File::open(path("in")).expect("opened"));
    assert_eq!(command.output().expect("it runs").status.code(), Some(2), "standard input is a file too");
    assert_eq!(fs::read(path("in")).expect("there"), fs::read(sample("eks.ndjson")).expect("there"));
    let ended = run(["run", &path("in"), "--ledger", "/dev/null", "--rejects", "/dev/null"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn a_pipe_with_a_name_is_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let child = spawn([std::ffi::OsStr::new("run"), pipe.as_os_str()]);
    fs::write(&pipe, nodeport_record(json!({}))).expect("the command reads it to its end");
    let ended: Ended = child.wait_with_output().expect("it ends").into();
    assert_eq!((ended.code, json_lines(&ended.stdout).len()), (Some(0), 1), "{}", ended.stderr);
}

#[test]
fn an_empty_input_is_reported_and_is_not_an_error() {
    let ended = run_with_input(["run"], b"");
    assert_eq!((ended.code, &*ended.stdout), (Some(0), ""));
    assert!(
        ended.stderr.starts_with("portcullis: the input contains no records\nportcullis: 0 records = "),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = spawn(["run", "-"]);
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(&line(nodeport_record(json!({})))).expect("the command reads");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    stdout.read_line(&mut String::new()).expect("an alert");
    drop(stdout);
    let writer = std::thread::spawn(move || {
        // More than any pipe holds; the command stops reading when nobody takes its alerts.
        while stdin.write_all(&line(nodeport_record(json!({})))).is_ok() {}
    });
    let ended: Ended = child.wait_with_output().expect("it ends").into();
    writer.join().expect("the pipe was closed");
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stderr.contains("panic") && ended.stderr.contains("records = "), "{}", ended.stderr);

    // It hides no other failure.
    let mut child = spawn(["run", &sample("eks.ndjson"), "--ledger", "/dev/full"]);
    drop(child.stdout.take());
    let ended: Ended = child.wait_with_output().expect("it ends").into();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);

    for args in [vec!["test"], vec!["--help"], vec!["inspect", "--help"]] {
        let mut child = spawn(&args);
        drop(child.stdout.take());
        let ended = child.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{args:?}");
    }
}

/// Ctrl-C and a termination signal, while the command waits for input: what was read is written out and accounted for.
#[test]
fn an_interrupted_run_closes_its_account() {
    for signal in ["INT", "TERM"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ledger: PathBuf = folder.path().join("ledger");
        let mut child = spawn(["run", "-", "--ledger", ledger.to_str().expect("UTF-8")]);
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(&line(nodeport_record(json!({})))).expect("the command reads");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut String::new()).expect("an alert");
        let killed = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().expect("kill runs");
        assert!(killed.success());
        let mut stderr = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("UTF-8");
        assert_eq!(child.wait().expect("it ends").code(), Some(130), "{signal}: {stderr}");
        assert!(stderr.contains("1 records = 1 evaluated"), "{signal}: {stderr}");
        assert_eq!(json_lines(&fs::read_to_string(ledger).expect("written")).len(), 1);
        drop(stdin);
    }
}

#[test]
fn help_lists_commands_and_options() {
    let mut text = String::new();
    for args in [
        vec!["--help"],
        vec!["run", "--help"],
        vec!["test", "--help"],
        vec!["explain", "--help"],
        vec!["inspect", "--help"],
        vec!["export", "--help"],
    ] {
        let ended = run(&args);
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
        text += &format!("$ portcullis {}\n{}\n", args.join(" "), ended.stdout);
    }
    insta::assert_snapshot!(text);
}

#[test]
fn an_invalid_argument_lists_the_valid_ones() {
    for args in [vec!["run", "--format", "xml"], vec!["watch"], vec![]] {
        let ended = run(&args);
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{args:?}");
    }
    assert!(run(["run", "--format", "xml"]).stderr.contains("[possible values: text, ndjson, ocsf, annotated]"));
    assert!(run(["watch"]).stderr.contains("the commands are run, serve, demo, test, explain, "));
}
