//! A run that goes on while rules change: records go in one by one, and what the history says is waited for.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::service::{PATIENCE, wait_until};
use super::{Does, Ended, Run, VERSIONED, account, json_lines, spawn, version};

/// `portcullis run - --watch` on a folder of rules.
pub(crate) struct Live {
    folder: tempfile::TempDir,
    child: Child,
    stdin: Option<ChildStdin>,
    alerts: Receiver<String>,
    messages: Arc<Mutex<String>>,
    reading: Vec<JoinHandle<String>>,
    sent: usize,
}

impl Live {
    /// Starts a run in a folder of its own, in which are these files already; `rules` is the folder of rules, `config.toml`
    /// its config.
    pub(crate) fn start(files: &[(&str, &[u8])], more_args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("rules")).expect("a folder");
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).expect("written");
        }
        Self::in_folder(folder, more_args)
    }

    /// Starts a run in a folder that another has left.
    pub(crate) fn in_folder(folder: tempfile::TempDir, more_args: &[&str]) -> Self {
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let mut args = vec!["run".to_owned(), "-".to_owned(), "--rules".to_owned(), path("rules")];
        for (option, name) in [("--history", "history"), ("--ledger", "ledger"), ("--rejects", "rejects")] {
            args.extend([option.to_owned(), path(name)]);
        }
        if folder.path().join("config.toml").exists() {
            args.extend(["--config".to_owned(), path("config.toml")]);
        }
        args.extend(more_args.iter().map(|arg| (*arg).to_owned()));
        let mut child = spawn(args);
        let (sender, alerts) = channel();
        let messages = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&messages);
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let collect = |reader: Box<dyn std::io::Read + Send>, line: Box<dyn Fn(&str) + Send>| {
            std::thread::spawn(move || {
                let mut all = String::new();
                for text in BufReader::new(reader).lines() {
                    let text = text.expect("UTF-8");
                    line(&text);
                    all += &(text + "\n");
                }
                all
            })
        };
        let reading = vec![
            collect(Box::new(stdout), Box::new(move |line| drop(sender.send(line.to_owned())))),
            collect(Box::new(stderr), Box::new(move |line| *written.lock().expect("no panic") += line)),
        ];
        Self { stdin: child.stdin.take(), folder, child, alerts, messages, reading, sent: 0 }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file there whole, as a careful person does: written under another name, and renamed.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let part = self.path("part");
        fs::write(&part, bytes).expect("written");
        fs::rename(part, self.path(name)).expect("renamed");
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("removed");
    }

    /// Sends records, a line each. They are judged later: who changes rules then waits for their alerts before.
    pub(crate) fn send(&mut self, records: &[&str]) {
        let stdin = self.stdin.as_mut().expect("it is open");
        for record in records {
            writeln!(stdin, "{record}").expect("it reads");
        }
        stdin.flush().expect("it reads");
        self.sent += records.len();
    }

    /// The next alert.
    pub(crate) fn alert(&self) -> Value {
        let line = self.alerts.recv_timeout(PATIENCE).expect("an alert");
        serde_json::from_str(&line).expect(&line)
    }

    /// Waits for a message that contains this text.
    pub(crate) fn wait_for_message(&self, text: &str) {
        wait_until(text, || self.messages.lock().expect("no panic").contains(text));
    }

    /// Lets it not run while something is done, so that it sees all of that at once.
    pub(crate) fn at_once(&self, act: impl FnOnce()) {
        self.signal(Signal::STOP);
        act();
        self.signal(Signal::CONT);
    }

    /// What the history says so far.
    pub(crate) fn history(&self) -> Vec<Value> {
        history(&self.path("history"))
    }

    /// Waits for an entry with this action, about this version.
    pub(crate) fn wait_for(&self, action: &str, version: &str) -> Value {
        self.wait_for_entry(|entry| entry["action"] == action && (entry["to"] == version || entry["from"] == version))
    }

    /// Waits for an entry.
    pub(crate) fn wait_for_entry(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        let entries = self.wait_until(|entries| entries.iter().any(&is_it));
        entries.into_iter().rfind(is_it).expect("it is there")
    }

    /// Waits until the history is as it should be.
    pub(crate) fn wait_until(&self, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let entries = self.history();
            if is_so(&entries) {
                return entries;
            }
            assert!(began.elapsed() < PATIENCE, "the history is {entries:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).expect("it lives");
    }

    /// The process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Ends the input, and then the process by two signals while it waits for the history; how it ended. A record must
    /// have been sent: the outputs are complete when the ledger has it.
    pub(crate) fn end_at_once(mut self) -> Ended {
        drop(self.stdin.take());
        let ledger = self.folder.path().join("ledger");
        wait_until("the ledger is written", || fs::metadata(&ledger).is_ok_and(|ledger| ledger.len() > 0));
        for signal in [Signal::INT, Signal::TERM] {
            self.signal(signal);
        }
        let code = self.child.wait().expect("it ends").code();
        let [stdout, stderr] = [0, 1].map(|_| self.reading.remove(0).join().expect("it was read"));
        Ended { code, stdout, stderr }
    }

    /// Ends the input, and checks the account; with the folder, for whoever wants to go on in it.
    pub(crate) fn end(mut self) -> (Run, tempfile::TempDir) {
        drop(self.stdin.take());
        let status = self.child.wait().expect("it ends");
        let [stdout, stderr] = [0, 1].map(|_| self.reading.remove(0).join().expect("it was read"));
        account::check_printed(&stderr);
        let read = |name| json_lines(&fs::read_to_string(self.folder.path().join(name)).expect("written"));
        let ended = Ended { code: status.code(), stdout, stderr };
        let run = Run { alerts: json_lines(&ended.stdout), ledger: read("ledger"), rejects: read("rejects"), ended };
        run.check_account();
        assert_eq!(run.ledger.len(), self.sent, "every record is there once");
        (run, self.folder)
    }
}

/// The lines of a history, as far as they are written.
pub(crate) fn history(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    json_lines(whole)
}

pub(crate) const FIRST: &str = "rules/Test.Versioned@1.0.0.wasm";
pub(crate) const SECOND: &str = "rules/Test.Versioned@2.0.0.wasm";

/// A run with version 1.0.0, which alerts.
pub(crate) fn live(config: &str, more_args: &[&str]) -> Live {
    let files = [(FIRST, &*version("1.0.0", Does::Alert)), ("config.toml", config.as_bytes())];
    let live = Live::start(&files, more_args);
    live.wait_for("activated", "1.0.0");
    live
}

/// Which versions judged, each with what it said.
pub(crate) fn said(ledger: &[Value]) -> Vec<(String, String)> {
    let entry = |line: &Value| {
        let rule = &line["rules"][VERSIONED];
        let text = |key: &str| rule[key].as_str().unwrap_or("none").to_owned();
        (text("version"), text("verdict"))
    };
    let mut said: Vec<_> = ledger.iter().map(entry).collect();
    said.dedup();
    said
}

pub(crate) fn pairs(said: &[(String, String)]) -> Vec<(&str, &str)> {
    said.iter().map(|(version, verdict)| (&**version, &**verdict)).collect()
}

/// A config that pins [`VERSIONED`].
pub(crate) fn pinned(number: &str) -> String {
    format!("[activation]\nversions = {{ {VERSIONED:?} = \"{number}\" }}\n")
}
