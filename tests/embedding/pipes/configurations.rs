//! The commands that the configurations in `deploy/pipes` name, run as Vector and Redpanda Connect run them.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::piped::{PATIENCE, Piped, record, streamed};
use crate::support::{project, text as text_of};

/// The command that a configuration names, with `/var/log` in a folder of the test's.
fn configured(file: &str, command: &[&str], folder: &Path) -> (Command, String) {
    let text = fs::read_to_string(project("deploy/pipes").join(file)).expect("the configuration");
    let config: Value = serde_saphyr::from_str(&text).expect("YAML");
    let place = command.iter().fold(&config, |value, key| match key.parse::<usize>() {
        Ok(n) => &value[n],
        Err(_) => &value[*key],
    });
    let words: Vec<String> = match place {
        Value::Array(words) => words.iter().map(text_of).collect(),
        subprocess => {
            let args = subprocess["args"].as_array().expect("arguments");
            std::iter::once(&subprocess["name"]).chain(args).map(text_of).collect()
        }
    };
    let log = folder.to_str().expect("UTF-8");
    let words: Vec<String> = words.iter().map(|word| word.replace("/var/log", log)).collect();
    let built = Path::new(env!("CARGO_BIN_EXE_portcullis")).parent().expect("it is in a folder");
    let path = std::env::join_paths(
        std::iter::once(built.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").expect("a path"))),
    );
    fs::create_dir_all(folder.join("portcullis")).expect("a folder");
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env("PATH", path.expect("it can be joined"));
    (command, words.join(" "))
}

/// As Vector's exec source runs it: no standard input, standard output read by the line, SIGTERM to the one process, and read on
/// until the end.
#[test]
fn the_command_for_vector_follows_a_log_and_ends_on_a_signal() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let audit = folder.path().join("kubernetes/audit/audit.log");
    fs::create_dir_all(audit.parent().expect("a folder")).expect("made");
    fs::write(&audit, record(0, true)).expect("written");
    let (mut command, words) = configured("vector.yaml", &["sources", "portcullis", "command"], folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("bash is there");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut alert = || -> Value {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("UTF-8");
        serde_json::from_str(&line).expect(&line)
    };
    assert_eq!(alert()["audit_id"], "0", "{words}");
    for n in 1..20 {
        let mut log = OpenOptions::new().append(true).open(&audit).expect("it is there");
        log.write_all((record(0, false) + &record(n, true)).as_bytes()).expect("written");
        assert_eq!(alert()["audit_id"], n.to_string());
    }
    // A log that is rotated is followed.
    fs::rename(&audit, audit.with_extension("1")).expect("renamed");
    fs::write(&audit, record(20, true)).expect("written");
    assert_eq!(alert()["audit_id"], "20");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it lives");
    // To its end: nobody else holds the pipe.
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("UTF-8");
    assert_eq!((child.wait().expect("it ends").code(), &*rest), (Some(130), ""));
    let said = fs::read_to_string(folder.path().join("portcullis/run.log")).expect("written");
    assert!(said.contains("40 records = 40 evaluated"), "{said}");
    // Nothing is left behind.
    let began = Instant::now();
    let follows = |process: &fs::DirEntry| {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(audit.to_str().expect("UTF-8"))
    };
    while fs::read_dir("/proc").expect("Linux").flatten().any(|process| follows(&process)) {
        assert!(began.elapsed() < PATIENCE, "the tail goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As Redpanda Connect's processor runs it: a line in, a line out, nothing on standard error, and killed in the end.
#[test]
fn the_command_for_redpanda_connect_answers_each_message() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = ["pipeline", "processors", "0", "try", "0", "subprocess"];
    let (command, words) = configured("redpanda-connect.yaml", &place, folder.path());
    let log = folder.path().join("portcullis/run.log");
    let mut piped = Piped::start_command(command, folder);
    for n in 0..500 {
        let line = streamed(n);
        piped.write(&line);
        let answer = piped.read_line();
        if line.contains("NodePort") {
            let answer: Value = serde_json::from_str(&answer).expect(&words);
            assert_eq!(answer["portcullis"]["alerts"][0]["audit_id"], n.to_string());
        } else {
            assert_eq!(answer, line);
        }
    }
    // A warning goes where the processor does not see it.
    let public = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"get","user":{"username":"system:node:a"},"sourceIPs":["8.8.8.8"],"objectRef":{"resource":"pods"},"responseStatus":{"code":200}}"#;
    piped.write(&format!("{public}\n"));
    assert!(piped.read_line().contains("8.8.8.8"));
    let began = Instant::now();
    while !fs::read_to_string(&log).expect("it is there").contains("warning: ") {
        assert!(began.elapsed() < PATIENCE, "it does not warn");
        std::thread::sleep(Duration::from_millis(5));
    }
    // At whose end it would take the process for ended.
    let mut said = [PollFd::new(&piped.stderr, PollFlags::IN)];
    assert_eq!(poll(&mut said, Some(&Timespec::default())), Ok(0), "nothing, and no end");
    piped.signal(Signal::KILL);
    let ending = piped.end();
    assert_eq!((ending.code, &*ending.rest, &*ending.stderr), (None, "", ""));
}
