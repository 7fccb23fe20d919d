//! `portcullis demo`: serves the live page on loopback, and sends sample records to it one by one.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::failure::{Exit, Failure, OrExit, info, warn};
use crate::serve;

const EXAMPLES: &str = "\
Examples:
  # Open http://127.0.0.1:8080, and watch alerts arrive
  portcullis demo

  # On another port, five records a second
  portcullis demo --port 9000 --pause 0.2";

#[derive(clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// Port on 127.0.0.1
    #[arg(long, value_name = "N", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Seconds between two records
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = pause)]
    pause: Duration,
}

fn pause(text: &str) -> Result<Duration, String> {
    let pause = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    pause.ok_or_else(|| "expected a number of seconds, such as 0.5".to_owned())
}

/// The token of the page. Everybody knows it, so the service listens on loopback only.
const TOKEN: &str = "demo-on-loopback-only";

/// The samples of each cloud.
const SAMPLES: [&str; 3] = [
    include_str!("../../../fixtures/samples/eks.ndjson"),
    include_str!("../../../fixtures/samples/aks.ndjson"),
    include_str!("../../../fixtures/samples/gke.ndjson"),
];

/// How long the service may take until it is ready.
const PATIENCE: Duration = Duration::from_mins(2);

/// Serves until a signal ends it. Everything is in a temporary folder, which is removed then.
pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let folder = tempfile::tempdir().or_exit(Exit::Io)?;
    let config = folder.path().join("portcullis.toml");
    write(&config, args.port).or_exit(Exit::Io)?;
    let (port, pause) = (args.port, args.pause);
    info(format!("open http://127.0.0.1:{port} and enter the token {TOKEN}; Ctrl-C ends the demo"));
    thread::spawn(move || match send_all(port, pause) {
        Ok(sent) => info(format!("all {sent} sample records are sent; the page stays until Ctrl-C")),
        Err(error) => warn(format!("warning: the sample records cannot be sent: {error}")),
    });
    serve::run(&serve::Args::of_config(config))
}

fn write(config: &Path, port: u16) -> io::Result<()> {
    let folder = config.parent().expect("it is in a folder");
    fs::write(folder.join("token"), TOKEN)?;
    let client = "[[serve.clients]]\nname = \"demo\"\nroles = [\"ingest\", \"view\"]\ntoken-file = \"token\"\n";
    let sink = "[[serve.sinks]]\nname = \"alerts\"\ntype = \"file\"\n";
    fs::write(config, format!("[serve]\nlisten = \"127.0.0.1:{port}\"\ndata = \"data\"\n\n{client}\n{sink}"))
}

/// Sends the samples of the clouds in turn. Returns how many there were.
fn send_all(port: u16, pause: Duration) -> io::Result<usize> {
    let mut waited = Duration::ZERO;
    while ask(port, "GET", "/readyz", "").is_err() {
        if waited > PATIENCE {
            return Err(io::Error::other("the service is not ready"));
        }
        thread::sleep(Duration::from_millis(100));
        waited += Duration::from_millis(100);
    }
    let mut samples = SAMPLES.map(str::lines);
    let mut sent = 0;
    loop {
        let records: Vec<&str> = samples.iter_mut().filter_map(Iterator::next).collect();
        if records.is_empty() {
            return Ok(sent);
        }
        for record in records {
            thread::sleep(pause);
            ask(port, "POST", "/v1/records", record)?;
            sent += 1;
        }
    }
}

/// Asks the service of this process. Another answer than 200 is an error.
fn ask(port: u16, method: &str, path: &str, body: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer.starts_with(b"HTTP/1.1 200 ") {
        return Ok(());
    }
    let status = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    Err(io::Error::other(format!("the service answers {status}")))
}
