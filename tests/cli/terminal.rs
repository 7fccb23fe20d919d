//! What a person at a terminal sees: colours, and how far a run has come. The terminal is a pseudo-terminal of the test's.

#![cfg(unix)]

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::sample;

/// Which of the command's ends are the terminal.
#[derive(Clone, Copy, PartialEq)]
enum Ends {
    Both,
    StandardError,
}

/// Runs the command on a terminal, and gives what shows on it.
fn on_terminal(args: &[&str], ends: Ends, variables: &[(&str, &str)]) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it is ours");
    let name = ptsname(&terminal, Vec::new()).expect("it has a name").into_string().expect("UTF-8");
    let end = || File::options().read(true).write(true).open(&name).expect("its other end");
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(args).env_remove("NO_COLOR").env("TERM", "xterm-256color").env("COLUMNS", "120");
    command.envs(variables.iter().copied()).stdin(Stdio::null()).stderr(end());
    command.stdout(if ends == Ends::Both { Stdio::from(end()) } else { Stdio::null() });
    let mut child = command.spawn().expect("the command starts");
    // Nobody but the child holds the other end now: reading ends with it, on Linux as an error.
    drop(command);
    let mut shown = Vec::new();
    let mut terminal = File::from(terminal);
    let mut buffer = [0; 4096];
    while let Ok(read) = terminal.read(&mut buffer)
        && read > 0
    {
        shown.extend_from_slice(&buffer[..read]);
    }
    assert!(child.wait().expect("it ends").success());
    String::from_utf8(shown).expect("UTF-8")
}

const RED: &str = "\u{1b}[1m\u{1b}[31m[HIGH]\u{1b}[0m ";

#[test]
fn severity_is_in_colour_on_a_terminal_unless_no_color_is_set() {
    let shown = |variables: &[(&str, &str)]| on_terminal(&["run", "-q", &sample("eks.ndjson")], Ends::Both, variables);
    assert!(shown(&[]).contains(RED), "{}", shown(&[]));
    assert!(shown(&[("NO_COLOR", "")]).contains(RED));
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let shown = shown(&[plain]);
        assert!(shown.contains("[HIGH] ") && !shown.contains('\u{1b}'), "{plain:?}: {shown}");
    }
}

#[test]
fn a_file_has_no_colours_unless_they_are_requested() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("alerts");
    let args = [
        "run",
        "-q",
        "--format",
        "text",
        "--runbook",
        "--output",
        file.to_str().expect("UTF-8"),
        &sample("eks.ndjson"),
    ];
    on_terminal(&args, Ends::Both, &[]);
    let text = fs::read_to_string(&file).expect("written");
    assert!(!text.contains('\u{1b}'));
    assert!(!text.contains("    serviceType "), "{text}");
    assert!(text.contains("\n    runbook        1. Identify all services"), "{text}");
    assert!(text.contains("\n                   2. Check the NodePort service"), "{text}");
}

/// A file that takes a moment to read.
fn large(folder: &Path) -> String {
    let file = folder.join("large.ndjson");
    fs::write(&file, fs::read_to_string(sample("eks.ndjson")).expect("the sample").repeat(300)).expect("written");
    file.to_str().expect("UTF-8").to_owned()
}

#[test]
fn progress_shows_while_a_file_is_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = large(folder.path());
    let shown = on_terminal(&["run", &file], Ends::StandardError, &[]);
    for part in [" KiB of ", " records/s, ", " alerts, ", " left"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let (_, account) = shown.rsplit_once("3600 records = ").expect("the account comes last");
    assert!(!account.contains(" left"), "{account}");
}

#[test]
fn quiet_shows_neither_progress_nor_account_and_still_warns() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = large(folder.path());
    let shown = on_terminal(&["run", "--quiet", &file], Ends::StandardError, &[]);
    assert!(shown.contains("warning: the network of the public"), "{shown}");
    assert_eq!(shown.lines().count(), 1, "{shown}");
}

#[test]
fn alerts_and_progress_do_not_run_into_each_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shown = on_terminal(&["run", &large(folder.path())], Ends::Both, &[("NO_COLOR", "1")]);
    let titles: Vec<&str> = shown.split(['\n', '\r']).filter(|line| line.contains("[HIGH]")).collect();
    assert!(titles.len() >= 1500, "{}", titles.len());
    assert!(titles.iter().all(|title| !title.contains(" left")), "{titles:?}");
}

#[test]
fn a_pipe_has_no_progress() {
    let ended = crate::support::run(["run", &sample("eks.ndjson")]);
    assert!(!ended.stderr.contains(" left") && !ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
}
