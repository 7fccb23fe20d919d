//! The first look at the live page, in one command.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::run;
use crate::support::service::{agent, ask};

const TOKEN: &str = "demo-on-loopback-only";

/// A demo, which ends with the test.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_demo_shows_the_alerts_of_all_samples_and_ends_without_a_trace() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(["demo", "--port", &port.to_string(), "--pause", "0.01"]).env("TMPDIR", folder.path());
    let mut child = Demo(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts"));
    let child = &mut child.0;
    let mut log = BufReader::new(child.stderr.take().expect("piped")).lines().map(|line| line.expect("UTF-8"));
    let first = log.next().expect("a line");
    assert_eq!(
        first,
        format!("portcullis: open http://127.0.0.1:{port} and enter the token {TOKEN}; Ctrl-C ends the demo")
    );
    let sent = log.find(|line| line.contains("sample records")).expect("it says so");
    assert!(sent.ends_with("all 28 sample records are sent; the page stays until Ctrl-C"), "{sent}");
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let authorization = format!("Bearer {TOKEN}");
    let metrics =
        ask(&agent(), "GET", &url("/metrics"), &[("Authorization", &authorization)], b"").expect("it answers");
    for figure in ["outcome=\"evaluated\"} 26", "outcome=\"ignored\"} 2"] {
        assert!(metrics.text.contains(figure), "{figure}: {}", metrics.text);
    }
    assert_eq!(ask(&agent(), "GET", &url("/"), &[], b"").expect("it answers").status, 200);
    kill_process(Pid::from_child(child), Signal::INT).expect("it lives");
    log.for_each(drop);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0, "it removes its files");
}

#[test]
fn the_demo_says_which_port_is_taken_and_what_a_pause_is() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let ended = run(["demo", "--port", &port]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("127.0.0.1:{port}")), "{}", ended.stderr);
    for pause in ["soon", "-1"] {
        let refused = run(["demo", &format!("--pause={pause}")]);
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains("expected a number of seconds, such as 0.5"), "{}", refused.stderr);
    }
}
