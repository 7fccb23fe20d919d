//! From nothing to a package: the template of a rule, and packing what others have compiled.

use std::path::Path;
use std::process::Command;

use crate::support::{Does, json_lines, project, run, versioned_spec};

/// Runs a command of a shell's line in a folder, with the built `portcullis` for its name.
fn step(folder: &Path, line: &str) {
    let mut words = line.split_whitespace();
    let program = match words.next().expect("a program") {
        "portcullis" => env!("CARGO_BIN_EXE_portcullis"),
        other => other,
    };
    let mut command = Command::new(program);
    command.args(words).current_dir(folder);
    // What the tests are run with is not meant for a crate of somebody's own.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_") || name == "RUSTFLAGS" {
            command.env_remove(name);
        }
    }
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        command.env("CARGO_HOME", home);
    }
    let output = command.output().expect(program);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_steps_that_new_prints_make_a_package_that_passes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["new", "pod-exec"])
        .current_dir(folder.path())
        .output()
        .expect("it starts");
    let steps = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let crate_folder = folder.path().join("pod-exec");
    let lines: Vec<&str> = steps.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(lines[0], "cd pod-exec");
    // What the crate depends on is compiled once for many runs of this test.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pod-exec");
    std::fs::create_dir_all(&target).expect("made");
    std::os::unix::fs::symlink(&target, crate_folder.join("target")).expect("linked");
    for line in &lines[1..] {
        step(&crate_folder, line);
    }
    let package = crate_folder.join("Custom.Pod.Exec@0.1.0.wasm");
    let ended = run(["inspect", "--format", "json", package.to_str().expect("UTF-8")]);
    let said = &json_lines(&ended.stdout)[0];
    assert_eq!(said["prefilter"], serde_json::json!({"resource": ["pods"], "subresource": ["exec"]}));
    assert_eq!((&said["version"], &said["test_cases"][0]), (&"0.1.0".into(), &"Shell opened".into()));
}

#[test]
fn new_accepts_names_of_crates_and_overwrites_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let new = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        let output = command.args(["new", "--", name]).current_dir(folder.path()).output().expect("it starts");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    for name in ["", "Pod", "pod_exec", "-pod", "pod--exec", "../pod", "1pod", "portcullis-rule", "a b"] {
        let (code, said) = new(name);
        assert_eq!(code, Some(2), "{name}");
        assert!(said.starts_with(&format!("portcullis: {name:?} is not a valid name: ")), "{said}");
    }
    assert_eq!(new("a").0, Some(0));
    assert_eq!(new("a"), (Some(4), "portcullis: a: already exists; choose another name\n".to_owned()));
}

/// A bare component of our world, of whatever language, becomes a package with what is given.
#[test]
fn pack_makes_a_package_of_a_component() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    std::fs::write(path("bare.wasm"), Does::Alert.component()).expect("written");
    std::fs::write(path("rule.yml"), versioned_spec(true)).expect("written");
    let pack = |more: &[&str]| {
        let mut args = vec!["pack".to_owned(), path("bare.wasm")];
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        run(args)
    };
    let (spec, out) = (path("rule.yml"), path("out.wasm"));
    for (args, message) in [
        (&["-o", &out][..], "has no spec: give one with --spec rule.yml"),
        (&["-o", &out, "--spec", &spec], "has no version: give one with --version, such as --version 1.0.0"),
        (
            &["-o", &out, "--spec", &spec, "--version", "1.0.0", "--prefilter", "colour=red"],
            "the prefilter names the unknown field \"colour\"; expected one of logType, stage, verb",
        ),
        (&["-o", &out, "--spec", &out], "cannot be read"),
    ] {
        let ended = pack(args);
        assert_eq!((ended.code, &*ended.stdout), (Some(3), ""));
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
    assert_eq!(pack(&["--spec", &spec, "--version", "1"]).code, Some(2), "no version");
    assert_eq!(pack(&["--spec", &spec, "--version", "1.0.0", "--prefilter", "verb"]).code, Some(2), "no value");

    let prefilter = ["--prefilter", "verb=get", "--prefilter", "verb=list", "--prefilter", "logType=Amazon.*"];
    let args: Vec<&str> = ["-o", &out, "--spec", &spec, "--version", "1.0.0"].into_iter().chain(prefilter).collect();
    let ended = pack(&args);
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), &*format!("{out}\n"), ""));
    let ended = run(["inspect", "--format", "json", &out]);
    let said = &json_lines(&ended.stdout)[0];
    assert_eq!(said["prefilter"], serde_json::json!({"verb": ["get", "list"], "logType": ["Amazon.*"]}));

    // A package is packed anew: what is not given stays.
    let ended = run(["pack", &out, "--version", "1.1.0", "-o", &path("")]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ended = run(["inspect", "--format", "json", &path("Test.Versioned@1.1.0.wasm")]);
    assert_eq!(json_lines(&ended.stdout)[0]["prefilter"], said["prefilter"]);

    let ended = pack(&["-o", &out, "--spec", &spec, "--version", "1.0.1"]);
    assert_eq!(ended.code, Some(4), "what is there stays");
    assert_eq!(pack(&["-o", &out, "--spec", &spec, "--version", "1.0.1", "--force"]).code, Some(0));
}

#[test]
fn pack_refuses_what_a_host_would_refuse() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let spec = project("rules-wasm/nodeport-service/rule.yml");
    let spec = spec.to_str().expect("UTF-8");
    for (bytes, message) in [
        (&b"hello"[..], "is not WebAssembly: "),
        (
            &wat::parse_str(r#"(module (import "env" "f" (func)))"#).expect("a module"),
            "is a core module that cannot become a component: ",
        ),
        (&wat::parse_str("(component)").expect("a component"), "not a rule's component: it exports nothing"),
    ] {
        std::fs::write(path("bare.wasm"), bytes).expect("written");
        let ended = run(["pack", &path("bare.wasm"), "--spec", spec, "--version", "1.0.0", "-o", &path("out.wasm")]);
        assert_eq!(ended.code, Some(3));
        let named = format!("portcullis: {}: {message}", path("bare.wasm"));
        assert!(ended.stderr.starts_with(&named), "{}", ended.stderr);
    }
    assert!(!folder.path().join("out.wasm").exists());
}
