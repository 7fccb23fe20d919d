//! `portcullis serve` as a process that tests start, talk to, kill and start again.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::json_lines;

/// What is waited for comes within this time, on however busy a machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

/// The token of the client `api`, who brings records, and that of `eyes`, who looks.
pub(crate) const API: &str = "the-api-servers-own-token";
pub(crate) const EYES: &str = "the-token-of-who-looks";

/// The token of the client `publisher`, who brings packages.
pub(crate) const PUBLISHER: &str = "the-token-of-who-publishes";

/// The tables of two tenants, `acme` and `globex`, whose records carry a label.
pub(crate) const TWO_TENANTS: &str = r#"
[[tenants]]
name = "acme"
records = [{ p_source_label = "acme" }]

[[tenants]]
name = "globex"
records = [{ p_source_label = "globex" }]
"#;

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

/// A process that serves. It does not outlive the test.
pub(crate) struct Service {
    process: Process,
    /// Where it listens.
    pub(crate) address: String,
    log: Arc<Mutex<Vec<Value>>>,
    logging: JoinHandle<()>,
    stdout: JoinHandle<String>,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a process ended that was to serve.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Option<i32>,
    /// What it said, a line each.
    pub(crate) said: Vec<String>,
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
        Self::try_start(folder, more_args, "info").unwrap_or_else(|refusal| panic!("it does not serve: {refusal:?}"))
    }

    /// The same with so much in the log; or what it says instead.
    pub(crate) fn try_start(folder: &Path, more_args: &[&str], log: &str) -> Result<Self, Refusal> {
        Self::try_start_by(Command::new(env!("CARGO_BIN_EXE_portcullis")), folder, more_args, log)
    }

    /// Starts one that may open so many files.
    pub(crate) fn start_with_files(folder: &Path, files: u32) -> Self {
        let mut command = Command::new("sh");
        let limited = format!("ulimit -n {files} && exec {} \"$@\"", env!("CARGO_BIN_EXE_portcullis"));
        command.args(["-c", &limited, "sh"]);
        Self::try_start_by(command, folder, &[], "info").expect("it serves")
    }

    fn try_start_by(mut command: Command, folder: &Path, more_args: &[&str], log: &str) -> Result<Self, Refusal> {
        command.arg("serve").arg("--config").arg(folder.join("config.toml")).args(more_args);
        command.env("PORTCULLIS_LOG", log).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process(command.spawn().expect("the command starts"));
        let (stdout, stderr) = (process.0.stdout.take().expect("piped"), process.0.stderr.take().expect("piped"));
        let (sender, listens) = channel();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&lines);
        let logging = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let line = line.expect("UTF-8");
                let entry: Value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if let Some(address) = entry["address"].as_str() {
                    let _ = sender.send(address.to_owned());
                }
                lines.lock().expect("nobody panicked").push(entry);
            }
        });
        let stdout = std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.map(|line| line + "\n").collect()
        });
        if let Ok(address) = listens.recv_timeout(PATIENCE) {
            return Ok(Self { process, address, log, logging, stdout });
        }
        let _ = process.0.kill();
        let code = process.0.wait().expect("it ends").code();
        let entry = |line: &Value| line["message"].as_str().or(line.as_str()).unwrap_or_default().to_owned();
        logging.join().expect("it was read");
        let said = log.lock().expect("nobody panicked").iter().map(entry).collect();
        Err(Refusal { code, said })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn process(&self) -> u32 {
        self.process.0.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process.0), signal).expect("it lives");
    }

    /// Ends it as nobody would who has the choice.
    pub(crate) fn kill(mut self) {
        self.process.0.kill().expect("it lives");
        self.process.0.wait().expect("it ends");
    }

    /// Ends it well; its exit code, its log, and what it has written to standard output.
    pub(crate) fn end(self) -> (Option<i32>, Vec<Value>, String) {
        self.signal(Signal::TERM);
        self.end_of_itself()
    }

    /// Waits for the end of one that was told to end.
    pub(crate) fn end_of_itself(mut self) -> (Option<i32>, Vec<Value>, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.process.0.try_wait().expect("it can be waited for") {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        self.logging.join().expect("it was read");
        let log = std::mem::take(&mut *self.log.lock().expect("nobody panicked"));
        (status.code(), log, self.stdout.join().expect("it was read"))
    }

    /// Waits until the log has so many messages with this in them.
    pub(crate) fn wait_for_log(&self, message: &str, count: usize) {
        let is_it = |line: &&Value| line["message"].as_str().is_some_and(|said| said.contains(message));
        let is_there = || self.log.lock().expect("nobody panicked").iter().filter(is_it).count() >= count;
        wait_until(&format!("{message:?} in the log"), is_there);
    }

    /// Has files and config read again, and waits until they have been.
    pub(crate) fn reload(&self, message: &str, count: usize) {
        self.signal(Signal::HUP);
        self.wait_for_log(message, count);
    }

    /// Brings a delivery with the token of `api`.
    pub(crate) fn post(&self, body: impl AsRef<[u8]>) -> Answer {
        self.ask(API, "POST", "/v1/records", body.as_ref())
    }

    /// Asks with the token of `eyes`.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(EYES, "GET", path, b"")
    }

    /// Asks with this token. Like an API server, it asks again while the first rules are checked.
    pub(crate) fn ask(&self, token: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        loop {
            let answer = self.ask_once(token, method, path, body);
            if answer.status != 503 || !answer.text.contains("are still being checked") {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn ask_once(&self, token: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        let authorization = format!("Bearer {token}");
        ask(&agent(), method, &self.url(path), &[("Authorization", &authorization)], body).expect("it answers")
    }

    /// What is seen live with this token, event by event, until one is as wanted.
    pub(crate) fn live(&self, token: &str, is_it: impl Fn(&str, &Value) -> bool) -> Vec<(String, Value)> {
        let request = agent().get(self.url("/v1/live")).header("Authorization", format!("Bearer {token}"));
        let mut response = request.call().expect("it answers");
        assert_eq!(response.status(), 200);
        let (mut kind, mut events) = (String::new(), Vec::new());
        for line in BufReader::new(response.body_mut().as_reader()).lines() {
            let line = line.expect("the stream goes on");
            if let Some(word) = line.strip_prefix("event: ") {
                word.clone_into(&mut kind);
            } else if let Some(data) = line.strip_prefix("data: ") {
                let data: Value = serde_json::from_str(data).expect("JSON");
                let is_last = is_it(&kind, &data);
                events.push((kind.clone(), data));
                if is_last {
                    return events;
                }
            }
        }
        panic!("the stream ended with {events:?}");
    }

    /// A connection on which bytes are written as they are.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream
    }

    /// Whether all is well with it.
    pub(crate) fn is_ready(&self) -> bool {
        self.get("/readyz").status == 200
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

/// The head of a delivery, with these lines in it.
pub(crate) fn head(more: &str) -> String {
    format!("POST /v1/records HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {API}\r\n{more}\r\n\r\n")
}

/// Reads until an answer is whole, or the other side has closed; what came, if anything.
pub(crate) fn read_answer(stream: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        text.extend_from_slice(&buffer[..count]);
        // Each of ours is an object on a line.
        if text.ends_with(b"}\n") {
            break;
        }
    }
    String::from_utf8(text).expect("UTF-8")
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
