//! `portcullis serve` as a process that tests start, talk to, kill and start again.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::json_lines;

/// What is waited for comes within this time, on however busy a machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The token of the client `api`, who brings records, and that of `eyes`, who looks.
pub(crate) const API: &str = "the-api-servers-own-token";
pub(crate) const EYES: &str = "the-token-of-who-looks";

/// The token of the client `publisher`, who brings packages.
pub(crate) const PUBLISHER: &str = "the-token-of-who-publishes";

/// The config that most tests want, with more tables behind it.
pub(crate) fn config(more: &str) -> String {
    format!(
        r#"
[serve]
listen = "127.0.0.1:0"
data = "data"
ledger = "ledger.ndjson"

[[serve.clients]]
name = "api"
roles = ["ingest"]
token-file = "api"

[[serve.clients]]
name = "eyes"
roles = ["view"]
token-file = "eyes"

[[serve.clients]]
name = "publisher"
roles = ["publish"]
token-file = "publisher"

{more}"#
    )
}

/// A process that serves.
pub(crate) struct Service {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
    log: JoinHandle<Vec<Value>>,
    stdout: JoinHandle<String>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect(&self.text)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// A folder with a config and the files of its tokens.
pub(crate) fn service_folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in [("config.toml", config), ("api", API), ("eyes", EYES), ("publisher", PUBLISHER)] {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

impl Service {
    /// Starts one with the config in this folder, and waits until it listens.
    pub(crate) fn start(folder: &Path, more_args: &[&str]) -> Self {
        Self::try_start(folder, more_args).unwrap_or_else(|log| panic!("it does not serve: {log}"))
    }

    /// The same; or what it says instead.
    pub(crate) fn try_start(folder: &Path, more_args: &[&str]) -> Result<Self, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.arg("serve").arg("--config").arg(folder.join("config.toml")).args(more_args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let (sender, listens) = channel();
        let log = std::thread::spawn(move || {
            let mut lines = Vec::new();
            for line in BufReader::new(stderr).lines() {
                let line = line.expect("UTF-8");
                let entry: Value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if let Some(address) = entry["address"].as_str() {
                    let _ = sender.send(address.to_owned());
                }
                lines.push(entry);
            }
            lines
        });
        let stdout = std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.map(|line| line + "\n").collect()
        });
        if let Ok(address) = listens.recv_timeout(PATIENCE) {
            return Ok(Self { child, address, log, stdout });
        }
        let _ = child.kill();
        let code = child.wait().expect("it ends").code();
        Err(format!("{code:?}: {:?}", log.join().expect("it was read")))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it lives");
    }

    /// Ends it as nobody would who has the choice.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it ends");
    }

    /// Ends it well; its exit code, its log, and what it has written to standard output.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<Value>, String) {
        self.signal(Signal::TERM);
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        (status.code(), self.log.join().expect("it was read"), self.stdout.join().expect("it was read"))
    }

    /// Brings a delivery with the token of `api`.
    pub(crate) fn post(&self, body: impl AsRef<[u8]>) -> Answer {
        let authorization = format!("Bearer {API}");
        ask(&agent(), "POST", &self.url("/v1/records"), &[("Authorization", &authorization)], body.as_ref())
            .expect("it answers")
    }

    /// Asks with the token of `eyes`.
    pub(crate) fn get(&self, path: &str) -> Answer {
        let authorization = format!("Bearer {EYES}");
        ask(&agent(), "GET", &self.url(path), &[("Authorization", &authorization)], b"").expect("it answers")
    }

    /// The value of a figure with these labels, as they are written.
    pub(crate) fn figure(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().expect("a number")
    }
}

/// Whoever asks over HTTP, and waits no longer than is patient.
pub(crate) fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    config.build().into()
}

/// Asks something.
pub(crate) fn ask(
    agent: &ureq::Agent,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, ureq::Error> {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = if method == "GET" {
        agent.run(request.body(()).expect("a request"))?
    } else {
        agent.run(request.body(body).expect("a request"))?
    };
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
    let headers = headers.collect();
    let status = response.status().as_u16();
    Ok(Answer { status, text: response.body_mut().read_to_string()?, headers })
}

/// The whole lines of a file that is written to, if it is there.
pub(crate) fn lines_of(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    json_lines(text.rfind('\n').map_or("", |end| &text[..end]))
}

/// Waits for something to be so.
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A file in the folder of a service's data.
pub(crate) fn data(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join("data").join(name)
}
