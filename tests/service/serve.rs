//! Batches as their clients bring them: what is taken, what is refused, and what is kept of each.

use std::fs;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::support::api_server::{event_list, events};
use crate::support::envelopes::{ENVELOPES, gzip, halves, sample_lines, zstd};
use crate::support::service::{
    API, Answer, EYES, Service, agent, ask, config, data, head, lines_of, read_answer, service_folder,
};
use crate::support::{NODEPORT, run_accounted, sample};

fn eks() -> Vec<u8> {
    fs::read(sample("eks.ndjson")).expect("the sample")
}

/// The sample made this long by white space, which is no line of its own.
fn eks_of(length: usize) -> Vec<u8> {
    let mut body = eks();
    body.truncate(body.trim_ascii_end().len());
    body.resize(length, b' ');
    body
}

/// What the service has written so far: ledger, alerts and dead letters.
fn kept(folder: &tempfile::TempDir) -> [Vec<Value>; 3] {
    ["ledger.ndjson", "alerts.ndjson", "dead-letters.ndjson"].map(|name| lines_of(&data(folder, name)))
}

fn assert_nothing_is_kept(folder: &tempfile::TempDir) {
    assert!(kept(folder).iter().all(Vec::is_empty), "{:?}", kept(folder));
}

/// A service that takes batches of no more than 64 KiB.
fn small() -> (tempfile::TempDir, Service) {
    let config = config("").replace("[serve]", "[serve]\nmax-body = \"64KiB\"");
    let folder = service_folder(&config);
    let service = Service::start(folder.path(), &[]);
    (folder, service)
}

fn post_with(service: &Service, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let authorization = format!("Bearer {API}");
    let headers: Vec<_> = headers.iter().copied().chain([("Authorization", &*authorization)]).collect();
    ask(&agent(), "POST", &service.url("/v1/records"), &headers, body).expect("it answers")
}

#[test]
fn a_batch_is_answered_after_all_of_it_is_stored() {
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    let answer = service.post(eks());
    assert_eq!(answer.status, 200, "{}", answer.text);
    let receipt = answer.json();
    let [ledger, alerts, _] = kept(&folder);
    assert_eq!((receipt["records"].as_u64(), ledger.len()), (Some(12), 12));
    assert_eq!((receipt["alerts"].as_u64(), alerts.len()), (Some(6), 6));
    assert!(ledger.iter().all(|line| line["batch"] == receipt["batch"]));
    // Brought again, it is judged again, and its alerts are there already.
    assert_eq!(service.post(eks()).status, 200);
    assert_eq!(lines_of(&data(&folder, "alerts.ndjson")), alerts);
    assert_eq!(lines_of(&data(&folder, "ledger.ndjson")).len(), 24);
    let events: Vec<String> = events(1, 400).map(|(_, event)| event).collect();
    let answer = service.post(event_list(events.iter().map(String::as_str)));
    assert_eq!(answer.json()["records"], 400);
    let (code, _, _) = service.end();
    assert_eq!(code, Some(0));
}

#[test]
fn every_envelope_and_compression_gets_the_verdicts_of_a_run() {
    let lines = sample_lines();
    let expected = run_accounted(lines.join("\n").as_bytes(), &[]);
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    for (name, wrap) in ENVELOPES {
        let plain = wrap(&lines).into_bytes();
        let bodies = [
            (None, plain.clone()),
            (Some("gzip"), gzip(&plain)),
            (Some("gzip"), halves(&plain, gzip)),
            (Some("zstd"), zstd(&plain)),
            (None, zstd(&plain)),
        ];
        for (encoding, body) in bodies {
            let header = encoding.map(|encoding| ("Content-Encoding", encoding));
            let answer = post_with(&service, header.as_slice(), &body);
            assert_eq!(answer.status, 200, "{name}: {}", answer.text);
            let receipt = answer.json();
            assert_eq!(receipt["alerts"], expected.alerts.len(), "{name}");
            let ledger = lines_of(&data(&folder, "ledger.ndjson"));
            let ledger: Vec<&Value> = ledger.iter().filter(|line| line["batch"] == receipt["batch"]).collect();
            assert_eq!(ledger.len(), expected.ledger.len(), "{name}");
            for (found, expected) in ledger.iter().zip(&expected.ledger) {
                for key in ["outcome", "reason", "tenant", "malformed", "rules"] {
                    assert_eq!(found[key], expected[key], "{name}: {key} of {expected}");
                }
            }
        }
    }
    let alerts = lines_of(&data(&folder, "alerts.ndjson"));
    assert_eq!(alerts, expected.alerts, "however often they came, they are there once");
    assert_eq!(service.end().0, Some(0));
}

#[test]
fn one_broken_line_among_others_is_a_dead_letter() {
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    let broken = r#"{"kind":"Event", broken"#;
    let mut lines: Vec<String> = String::from_utf8(eks()).expect("UTF-8").lines().map(str::to_owned).collect();
    lines.insert(3, broken.to_owned());
    let answer = service.post(lines.join("\n"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    let receipt = answer.json();
    assert_eq!(receipt["rejected"], 1);
    let [ledger, alerts, dead] = kept(&folder);
    assert_eq!((ledger.len(), alerts.len()), (13, 6));
    let of_line: Vec<&Value> = dead.iter().filter(|letter| letter["record"] == broken).collect();
    let [letter] = of_line[..] else { panic!("{dead:?}") };
    assert_eq!((&letter["batch"], &letter["place"]), (&receipt["batch"], &json!("api:4")));
    assert!(letter["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{letter}");
}

#[test]
fn a_broken_list_is_refused_and_nothing_of_it_is_stored() {
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    let records = String::from_utf8(eks()).expect("UTF-8");
    let mut items: Vec<&str> = records.lines().collect();
    let whole = event_list(items.iter().copied());
    items[5] = r#"{"kind":"Event","verb":}"#;
    let answer = service.post(event_list(items));
    assert_eq!(answer.status, 400);
    let refusal = answer.json();
    assert_eq!(refusal["place"], "1 items[5]", "{refusal}");
    assert!(refusal["error"].as_str().is_some_and(|error| error.contains("no record of it was taken")));
    // Cut off, wherever that is.
    for share in 1..20 {
        let cut = &whole.as_bytes()[..whole.len() * share / 20];
        for body in [cut.to_vec(), gzip(cut), gzip(whole.as_bytes())[..800 * share / 20].to_vec()] {
            let answer = service.post(body);
            assert_eq!(answer.status, 400, "{}", answer.text);
            assert!(answer.json()["place"].is_string(), "{}", answer.text);
        }
    }
    assert_nothing_is_kept(&folder);
    assert_eq!(service.post(whole).json()["records"], 12);
}

#[test]
fn a_batch_without_a_readable_record_is_refused() {
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    for body in ["", "\n \n", "no JSON\n", "<html></html>", "\0\0\0", "7\n", "[1, 2]", "\"text\""] {
        let answer = service.post(body);
        assert_eq!(answer.status, 400, "{body:?}: {}", answer.text);
        assert!(answer.json()["place"].is_string(), "{body:?}: {}", answer.text);
    }
    assert_nothing_is_kept(&folder);
    let what = answer_text(&service, "POST", "/v1/record");
    assert_eq!(what.0, 404, "{}", what.1);
    assert_eq!(answer_text(&service, "GET", "/v1/records").0, 405);
    assert_eq!(answer_text(&service, "POST", "/metrics").0, 405);
    for encoding in ["br", "deflate", "gzip, br"] {
        let answer = post_with(&service, &[("Content-Encoding", encoding)], &eks());
        assert_eq!(answer.status, 415, "{encoding}: {}", answer.text);
    }
    // Names of encodings are the same in any case.
    assert_eq!(post_with(&service, &[("Content-Encoding", "GZIP")], &gzip(&eks())).status, 200);
}

fn answer_text(service: &Service, method: &str, path: &str) -> (u16, String) {
    let answer = service.ask(EYES, method, path, b"{}");
    (answer.status, answer.text)
}

#[test]
fn a_batch_that_is_too_large_is_refused() {
    let (folder, service) = small();
    // Small as it comes, and huge when it is decompressed.
    for huge in [vec![b' '; 4 << 20], eks_of(1 << 20), eks().repeat(10)] {
        for body in [gzip(&huge), gzip(&gzip(&huge)), zstd(&huge)] {
            assert!(body.len() < 64 << 10, "{}", body.len());
            let answer = service.post(body);
            assert_eq!(answer.status, 413, "{}", answer.text);
        }
    }
    // Announced, and refused before it comes.
    let mut stream = service.connect();
    write!(stream, "{}", head("Content-Length: 65537")).expect("it reads");
    assert!(read_answer(&mut stream).starts_with("HTTP/1.1 413 "));
    // Not announced.
    let mut stream = service.connect();
    write!(stream, "{}8000\r\n", head("Transfer-Encoding: chunked")).expect("it reads");
    stream.write_all(&vec![b' '; 0x8000]).expect("it reads");
    write!(stream, "\r\n8001\r\n").expect("it reads");
    stream.write_all(&vec![b' '; 0x8001]).expect("it reads");
    assert!(read_answer(&mut stream).starts_with("HTTP/1.1 413 "));
    assert_nothing_is_kept(&folder);
    // Exactly as large as it may be.
    let answer = service.post(eks_of(64 << 10));
    assert_eq!(answer.json()["records"], 12, "{}", answer.text);
}

#[test]
fn a_record_of_five_megabytes_is_judged_as_a_run_judges_it() {
    let mut record: Value =
        serde_json::from_slice(eks().split(|byte| *byte == b'\n').next().expect("a line")).expect("JSON");
    record["requestObject"]["metadata"]["annotations"]["large"] = "x".repeat(5_000_000).into();
    let record = record.to_string();
    let expected = run_accounted(record.as_bytes(), &[]);
    assert_eq!(expected.verdict(0, NODEPORT), "alert");
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    assert_eq!(service.post(event_list([&*record])).status, 200);
    let [ledger, alerts, _] = kept(&folder);
    assert_eq!(ledger[0]["rules"], expected.ledger[0]["rules"]);
    assert_eq!(alerts, expected.alerts);
}
