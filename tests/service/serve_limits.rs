//! What clients that are slow, many or greedy can take: no more than the config gives them, and nothing of the others'.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::api_server::{event_list, events};
use crate::support::envelopes::gzip;
use crate::support::service::{
    API, EYES, Service, TWO_TENANTS, agent, ask, config, data, head, lines_of, read_answer, service_folder, wait_until,
};
use crate::support::{Does, all_hostile, exported, hostile, project, record, run_accounted, sample, version};

/// A service with these keys in its table, and a second client that brings records.
fn service(keys: &str) -> (tempfile::TempDir, Service) {
    let other = "[[serve.clients]]\nname = \"other\"\nroles = [\"ingest\"]\ntoken-file = \"other\"";
    let folder = service_folder(&config(other).replace("[serve]", &format!("[serve]\n{keys}")));
    fs::write(folder.path().join("other"), OTHER).expect("written");
    let service = Service::start(folder.path(), &[]);
    (folder, service)
}

const OTHER: &str = "the-token-of-another-client";

fn eks() -> Vec<u8> {
    let mut body = fs::read(sample("eks.ndjson")).expect("the sample");
    body.truncate(body.trim_ascii_end().len());
    body
}

/// Writes a byte now and then until the other side has closed; what came before that.
fn drip(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("set");
    let (mut text, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let is_open = stream.write_all(b"x").is_ok();
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(error) if is_open && [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
            Err(_) => break,
        }
    }
    String::from_utf8(text).expect("UTF-8")
}

#[test]
fn a_slow_client_is_closed_and_others_are_served_meanwhile() {
    let (_folder, service) = service("timeout = \"500ms\"");
    std::thread::scope(|scope| {
        let bodies: Vec<_> = (0..20)
            .map(|_| {
                let mut stream = service.connect();
                write!(stream, "{}", head("Content-Length: 100000")).expect("it reads");
                scope.spawn(|| drip(stream))
            })
            .collect();
        let heads: Vec<_> = (0..20)
            .map(|_| {
                let mut stream = service.connect();
                write!(stream, "POST /v1/records HTTP/1.1\r\nX-Slow: ").expect("it reads");
                scope.spawn(|| drip(stream))
            })
            .collect();
        // Says nothing, and says nothing more.
        let mut silent = service.connect();
        let mut idle = service.connect();
        write!(idle, "GET /v1/none HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        assert!(read_answer(&mut idle).starts_with("HTTP/1.1 404 "));
        for _ in 0..5 {
            assert_eq!(service.post(eks()).status, 200);
        }
        for body in bodies {
            let answer = body.join().expect("it drips");
            assert!(answer.starts_with("HTTP/1.1 408 ") || answer.is_empty(), "{answer}");
        }
        for head in heads {
            let answer = head.join().expect("it drips");
            assert!(answer.starts_with("HTTP/1.1 408 ") || answer.is_empty(), "{answer}");
        }
        for stream in [&mut silent, &mut idle] {
            assert_eq!(stream.read(&mut [0; 1024]).expect("it is closed"), 0);
        }
    });
    assert_eq!(service.post(eks()).status, 200);
}

#[test]
fn a_connection_over_the_limit_waits_for_another_to_close() {
    let (_folder, service) = service("connections = 4");
    let ask = |stream: &mut TcpStream| {
        write!(stream, "GET /v1/none HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is connected");
    };
    let mut connected: Vec<TcpStream> = (0..4).map(|_| service.connect()).collect();
    for stream in &mut connected {
        ask(stream);
        assert!(read_answer(stream).starts_with("HTTP/1.1 404 "));
    }
    let mut waiting = service.connect();
    ask(&mut waiting);
    waiting.set_read_timeout(Some(Duration::from_millis(300))).expect("set");
    let early = waiting.read(&mut [0; 10]);
    assert!(early.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{early:?}");
    waiting.set_read_timeout(Some(crate::support::service::PATIENCE)).expect("set");
    drop(connected.pop());
    assert!(read_answer(&mut waiting).starts_with("HTTP/1.1 404 "));
    // Those that were there are there still.
    for stream in &mut connected {
        ask(stream);
        assert!(read_answer(stream).starts_with("HTTP/1.1 404 "));
    }
    drop((connected, waiting));
    assert_eq!(service.post(eks()).status, 200);
}

#[test]
fn a_client_that_uses_up_its_budget_is_refused_and_others_are_served() {
    let (_folder, service) = service("max-body = \"1MiB\"\nin-flight = \"2MiB\"");
    let (length, all) = (1_000_000, eks());
    let in_flight = || service.figure("portcullis_in_flight_bytes");
    let mut holding = service.connect();
    write!(holding, "{}", head(&format!("Content-Length: {length}"))).expect("it reads");
    holding.write_all(&all).expect("it reads");
    holding.write_all(&vec![b' '; length - all.len() - 1]).expect("it reads");
    wait_until("it is in flight", || in_flight() >= 990_000.0);
    let large = [all.clone(), vec![b' '; 200_000]].concat();
    let answer = service.post(&large);
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")), "{}", answer.text);
    assert_eq!(service.ask(OTHER, "POST", "/v1/records", &large).status, 200);
    assert!(service.is_ready(), "it takes what is smaller, and others'");
    holding.write_all(b"\n").expect("it reads");
    let answer = read_answer(&mut holding);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    wait_until("the room is given back", || in_flight() < 1.0);
    assert_eq!(service.post(&large).status, 200);
    // Who goes away in the middle gives it back too.
    let mut leaving = service.connect();
    write!(leaving, "{}", head(&format!("Content-Length: {length}"))).expect("it reads");
    leaving.write_all(&vec![b' '; length - 1]).expect("it reads");
    wait_until("it is in flight", || in_flight() >= 990_000.0);
    drop(leaving);
    wait_until("the room is given back", || in_flight() < 1.0);
    let refused = r#"portcullis_batches_total{client="api",status="429"}"#;
    assert!((service.figure(refused) - 1.0).abs() < 0.5);
}

/// With several clients, each may use half of the memory budget. A batch whose results need more never fits.
#[test]
fn a_batch_that_can_never_fit_is_refused_for_good() {
    let (folder, service) = service("max-body = \"1MiB\"\nin-flight = \"2MiB\"");
    // A record of two bytes takes a line of a hundred in the ledger.
    let answer = service.post("{}\n".repeat(15_000));
    assert_eq!((answer.status, answer.header("retry-after")), (413, None), "{}", answer.text);
    assert!(answer.text.contains("need more than 1048576 bytes"), "{}", answer.text);
    assert_eq!(service.post("{}\n".repeat(1_000)).status, 200);
    assert_eq!(lines_of(&data(&folder, "ledger.ndjson")).len(), 1_000);
}

/// A rule answers 600 events with 63 KB each, within its limits. The batch has another tenant's events too.
#[test]
fn large_alerts_of_one_tenant_get_nothing_of_another_refused() {
    let tenant = |name: &str, verb: &str| {
        format!("[[tenants]]\nname = \"{name}\"\nrules = [\"{name}\"]\nrecords = [{{ verb = \"{verb}\" }}]\n")
    };
    let folder = service_folder(&config(&(tenant("acme", "create") + &tenant("globex", "get"))));
    for (name, package) in [("acme", hostile("large-contexts")), ("globex", version("1.0.0", Does::Alert))] {
        fs::create_dir(folder.path().join(name)).expect("made");
        fs::write(folder.path().join(name).join("rule.wasm"), package).expect("written");
    }
    let service = Service::start(folder.path(), &[]);
    let event = |n: usize| {
        let verb = if n < 600 { "create" } else { "get" };
        record(false).replace("\"get\"", &format!("\"{verb}\",\"auditID\":\"{n}\"")) + "\n"
    };
    let receipt = service.post((0..610).map(event).collect::<String>()).json();
    let most = (16 << 20) / 63_000;
    let alerts = receipt["alerts"].as_u64().expect("a number");
    assert!(receipt["evaluated"] == 610 && (most - 10..most + 10).contains(&alerts), "{receipt}");
    let of = |name: &str, tenant: &str| {
        lines_of(&data(&folder, name)).iter().filter(|line| line["tenant"] == tenant).count() as u64
    };
    assert_eq!((of("alerts.ndjson", "globex"), of("dead-letters.ndjson", "globex")), (10, 0));
    assert_eq!((of("alerts.ndjson", "acme"), of("dead-letters.ndjson", "acme")), (alerts - 10, 610 - alerts));
    let (_, log, _) = service.end();
    let is_it = |line: &&serde_json::Value| {
        line["message"].as_str().is_some_and(|text| text.contains("further matches of its tenant"))
    };
    assert_eq!(log.iter().filter(is_it).count(), 1, "{log:#?}");
}

#[test]
fn compression_in_compression_is_refused_for_good() {
    let (_folder, service) = service("");
    let spaces = gzip(&vec![b' '; 65 << 20]);
    let nothing = gzip(&gzip(b"").repeat(3_500_000));
    for (what, layers) in [("spaces", gzip(&spaces)), ("in three layers", gzip(&gzip(&spaces))), ("nothing", nothing)] {
        let answer = service.post(&layers);
        assert_eq!((answer.status, answer.header("retry-after")), (413, None), "{what}: {}", answer.text);
        assert!(answer.text.contains("when decompressed"), "{what}: {}", answer.text);
    }
    assert_eq!(service.post(gzip(&gzip(&eks()))).status, 200);
}

/// Connections that ask for the page again and again and never read it take a connection only for a while.
#[test]
fn a_client_that_does_not_read_is_closed() {
    let (_folder, service) = service("connections = 4\ntimeout = \"1s\"");
    let mut streams: Vec<TcpStream> = (0..4).map(|_| service.connect()).collect();
    let page = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_000);
    for stream in &mut streams {
        stream.set_write_timeout(Some(Duration::from_millis(300))).expect("set");
        // Until nothing more fits into the buffers of the system.
        while stream.write_all(page.as_bytes()).is_ok() {}
    }
    assert_eq!(service.post(eks()).status, 200, "a place is free again");
    drop(streams);
}

/// Viewers that a tenant opens and forgets take neither the places of its neighbours nor those of the operator.
#[test]
fn viewers_of_one_client_leave_places_to_others() {
    let client = "[[serve.clients]]\nname = \"acme\"\nroles = [\"view\"]\ntoken-file = \"acme\"\ntenant = \"acme\"\n";
    let folder = service_folder(&config(&(client.to_owned() + TWO_TENANTS)));
    fs::write(folder.path().join("acme"), OTHER).expect("written");
    let service = Service::start(folder.path(), &[]);
    let view = || {
        let mut stream = service.connect();
        let request = format!("GET /v1/live HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {OTHER}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut start = [0; 12];
        stream.read_exact(&mut start).expect("it answers");
        (String::from_utf8_lossy(&start).into_owned(), stream)
    };
    let mut open = Vec::new();
    for _ in 0..8 {
        let (start, stream) = view();
        assert_eq!(start, "HTTP/1.1 200");
        open.push(stream);
    }
    let (start, mut refused) = view();
    assert_eq!(start, "HTTP/1.1 503");
    let why = read_answer(&mut refused);
    assert!(why.contains("client acme has 8 viewers already; close one of them"), "{why}");
    assert!(!service.live(EYES, |kind, _| kind == "rules").is_empty(), "the operator sees");
    open.pop();
    wait_until("the place is free again", || view().0 == "HTTP/1.1 200");
}

/// A client that has said all that it will say still gets its answer.
#[test]
fn a_client_that_closes_its_half_is_answered() {
    let (_folder, service) = service("");
    let mut stream = service.connect();
    let body = eks();
    write!(stream, "{}", head(&format!("Content-Length: {}", body.len()))).expect("it reads");
    stream.write_all(&body).expect("it reads");
    stream.shutdown(std::net::Shutdown::Write).expect("closed");
    let answer = read_answer(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // In the middle of a request, there is nothing to answer.
    let mut stream = service.connect();
    write!(stream, "{}", head("Content-Length: 100000")).expect("it reads");
    stream.shutdown(std::net::Shutdown::Write).expect("closed");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is closed");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    wait_until("the room is given back", || service.figure("portcullis_in_flight_bytes") < 1.0);
}

/// With 64 open files, one host cannot take them all, and new rules are compiled.
#[test]
fn few_open_files_are_enough() {
    let folder = service_folder(&config(""));
    let service = Service::start_with_files(folder.path(), 64);
    let open: Vec<TcpStream> = (0..100).map(|_| service.connect()).collect();
    wait_until("those over the share are closed", || {
        let is_closed = |mut stream: &TcpStream| {
            stream.set_read_timeout(Some(Duration::from_millis(1))).expect("set");
            matches!(stream.read(&mut [0; 1]), Ok(0))
                || stream.peek(&mut [0; 1]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
        };
        open.iter().filter(|stream| is_closed(stream)).count() >= 88
    });
    for _ in 0..5 {
        // Each has a connection of its own, as the others of this host have.
        drop(service.connect());
    }
    drop(open);
    // Until the places are free again, it closes a connection.
    let authorization = format!("Bearer {API}");
    let headers = [("Authorization", &*authorization)];
    let answers = || ask(&agent(), "POST", &service.url("/v1/records"), &headers, &eks());
    wait_until("it answers", || answers().is_ok_and(|answer| answer.status == 200));
    let (code, log, _) = service.end();
    assert_eq!(code, Some(0));
    let is_it = |line: &&serde_json::Value| {
        line["message"].as_str().is_some_and(|text| text.starts_with("only 16 connections at once: raise the limit"))
    };
    assert_eq!(log.iter().filter(is_it).count(), 1, "{log:#?}");
}

/// However much is sent at once, plain or compressed, what is held is bounded by the config.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_bounded_under_concurrent_batches() {
    let (_folder, service) = service("max-body = \"8MiB\"\nin-flight = \"32MiB\"");
    let highest = || crate::support::status(service.process(), "VmHWM:") >> 10;
    let before = highest();
    let records: Vec<String> = events(3, 3500).map(|(_, event)| event).collect();
    let list = event_list(records.iter().map(String::as_str));
    assert!(list.len() > 5 << 20, "{}", list.len());
    let compressed = gzip(list.as_bytes());
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let sending: Vec<_> = (0..40)
            .map(|n| {
                let body = if n % 2 == 0 { list.as_bytes() } else { &compressed };
                let service = &service;
                scope.spawn(move || service.post(body).status)
            })
            .collect();
        sending.into_iter().map(|sending| sending.join().expect("it sends")).collect()
    });
    let accepted = statuses.iter().filter(|status| **status == 200).count();
    assert!(accepted > 0 && statuses.iter().all(|status| [200, 429, 503].contains(status)), "{statuses:?}");
    let grown = highest() - before;
    eprintln!("{accepted} of 40 accepted, {before} MiB before and {grown} MiB more");
    // All of them at once would be 230 MiB as they come, and twice that as they are judged.
    assert!(grown < 128, "{grown} MiB more than the {before} before, with 32 MiB in flight at the most");
    assert_eq!(service.post(&compressed).status, 200);
    assert_eq!(service.ask(EYES, "GET", "/metrics", b"").status, 200);
}

/// The 4,000 records of the corpus, beside all hostile rules that the gate lets through.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_bounded_with_all_hostile_rules_loaded() {
    let folder = service_folder(&config(""));
    let (rules, _files) = exported();
    for name in all_hostile() {
        fs::write(rules.path().join(&name).with_extension("wasm"), hostile(&name)).expect("written");
    }
    let records = fs::read_to_string(project("fixtures/parity/events.ndjson")).expect("the corpus");
    let service = Service::start(folder.path(), &["--rules", rules.path().to_str().expect("UTF-8")]);
    let mut lines = records.lines().peekable();
    while lines.peek().is_some() {
        let batch: Vec<&str> = lines.by_ref().take(400).collect();
        let answer = service.post(batch.join("\n"));
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let peak = crate::support::status(service.process(), "VmHWM:");
    eprintln!("{peak} KB at most");
    assert!(peak < 100_000, "{peak} KB at most");
    assert_eq!(service.end().0, Some(0));
    let real = |alert: &serde_json::Value| {
        let rule = alert["rule_id"].as_str().is_some_and(|rule| !rule.starts_with("Hostile."));
        rule.then(|| alert["alert_id"].to_string())
    };
    let found: BTreeSet<String> = lines_of(&data(&folder, "alerts.ndjson")).iter().filter_map(real).collect();
    let alone: BTreeSet<String> = run_accounted(records.as_bytes(), &[]).alerts.iter().filter_map(real).collect();
    assert!(!found.is_empty() && found == alone, "{} and {} alerts", found.len(), alone.len());
}
