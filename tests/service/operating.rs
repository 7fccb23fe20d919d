//! What operators rely on: health, figures, an end without loss, and rules that change while records come.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::api_server::{self, event_list, events};
use crate::support::service::{Service, config, data, lines_of, service_folder, wait_until};
use crate::support::{
    Does, FIRST, SECOND, VERSIONED, package, record, run, sample, slow_to_check, text, version, version_that_fails,
    versioned_spec, wait_for_check,
};

/// The series of an exposition, each with its value; it must be well-formed.
fn series(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let (mut series, mut described, mut current) = (BTreeMap::new(), HashSet::new(), String::new());
    for line in text.trim_end_matches("# EOF\n").lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            help.split_once(' ').expect("a help").0.clone_into(&mut current);
            assert!(described.insert(current.clone()), "{current} is described twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert_eq!(name, current, "the help of a metric comes before its type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            let metric = name.split('{').next().expect("a name");
            let suffix = metric.strip_prefix(&*current).unwrap_or_else(|| panic!("{line} is among {current}"));
            assert!(["", "_total", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
            assert!(
                series.insert(name.to_owned(), value.parse().expect("a number")).is_none(),
                "{name} is there twice"
            );
        }
    }
    series
}

/// The sum of all series of this name that have these labels.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are counts")]
fn sum(series: &BTreeMap<String, f64>, name: &str, labels: &[(&str, &str)]) -> u64 {
    let has = |series: &str| labels.iter().all(|(key, value)| series.contains(&format!("{key}=\"{value}\"")));
    let wanted = series.iter().filter(|(key, _)| key.split('{').next() == Some(name) && has(key));
    wanted.map(|(_, value)| value).sum::<f64>() as u64
}

#[test]
fn metrics_add_up_to_the_ledger() {
    let tenants = "[[tenants]]\nname = \"google\"\nrecords = [{ \"resource.type\" = \"k8s_cluster\" }]\n\
         [[tenants]]\nname = \"amazon\"\nrecords = [{ kind = \"Event\" }]\n";
    let folder = service_folder(&config(tenants));
    let service = Service::start(folder.path(), &[]);
    for name in ["eks", "gke", "aks", "broken", "eks"] {
        let answer = service.post(fs::read(sample(&format!("{name}.ndjson"))).expect("the sample"));
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
    }
    assert_eq!(service.post(r#"{"kind":"Event","spoke":"kube-audit"}"#).json()["suspect"], 1);
    assert_eq!(service.post("no JSON").status, 400);
    let answer = service.get("/metrics");
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    let series = series(&answer.text);
    let ledger = lines_of(&data(&folder, "ledger.ndjson"));
    for tenant in ["google", "amazon", ""] {
        let own: Vec<&Value> =
            ledger.iter().filter(|line| line["tenant"].as_str().unwrap_or_default() == tenant).collect();
        assert!(!own.is_empty(), "{tenant:?} has some");
        for outcome in ["evaluated", "ignored", "rejected"] {
            let count = own.iter().filter(|line| line["outcome"] == outcome).count();
            let labels = [("tenant", tenant), ("outcome", outcome)];
            assert_eq!(sum(&series, "portcullis_records_total", &labels), count as u64, "{tenant:?} {outcome}");
        }
        assert_eq!(sum(&series, "portcullis_records_total", &[("tenant", tenant)]), own.len() as u64);
        let is_suspect =
            |line: &&&Value| line["reason"].as_str().is_some_and(|reason| reason.contains(", but its text contains "));
        let suspect = own.iter().filter(is_suspect).count() as u64;
        assert_eq!(sum(&series, "portcullis_suspect_records_total", &[("tenant", tenant)]), suspect, "{tenant:?}");
        let mut verdicts: BTreeMap<(String, String), u64> = BTreeMap::new();
        for (rule, entry) in own.iter().filter_map(|line| line["rules"].as_object()).flatten() {
            *verdicts.entry((rule.clone(), text(&entry["verdict"]))).or_default() += 1;
        }
        for ((rule, verdict), count) in &verdicts {
            let labels = [("tenant", tenant), ("rule", &**rule), ("verdict", &**verdict)];
            assert_eq!(sum(&series, "portcullis_verdicts_total", &labels), *count, "{labels:?}");
        }
        let all: u64 = verdicts.values().sum();
        assert_eq!(sum(&series, "portcullis_verdicts_total", &[("tenant", tenant)]), all, "{tenant:?}");
    }
    let batches = |status| sum(&series, "portcullis_batches_total", &[("client", "api"), ("status", status)]);
    assert_eq!((batches("200"), batches("400")), (6, 1));
    assert_eq!(sum(&series, "portcullis_judging_seconds_count", &[]), 6);
    assert_eq!(sum(&series, "portcullis_judging_seconds_bucket", &[("le", "+Inf")]), 6);
    assert_eq!(sum(&series, "portcullis_ready", &[]), 1);
    let names: Vec<&str> = answer.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    insta::assert_snapshot!(names.join("\n"));
}

#[test]
fn after_a_termination_signal_batches_in_flight_are_answered_and_nothing_accepted_is_lost() {
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    let addresses = Mutex::new(vec![service.address.clone()]);
    let stops = AtomicBool::new(false);
    let (sent, (code, log, _)) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| api_server::send(11, &addresses, &stops, Duration::ZERO));
        wait_until("batches flow", || lines_of(&data(&folder, "ledger.ndjson")).len() > 1000);
        let ended = service.end();
        stops.store(true, Ordering::Relaxed);
        (sending.join().expect("it sends"), ended)
    });
    assert_eq!(code, Some(0), "{log:#?}");
    let ledger = lines_of(&data(&folder, "ledger.ndjson"));
    let in_ledger: HashSet<(String, String)> =
        ledger.iter().map(|line| (text(&line["batch"]), text(&line["audit_id"]))).collect();
    for (receipt, ids) in &sent.accepted {
        for id in ids {
            assert!(in_ledger.contains(&(text(&receipt["batch"]), id.clone())), "{id} of {receipt} is lost");
        }
    }
    // Nobody was left without an answer in the middle: what was judged was told to be safe.
    let accepted: usize = sent.accepted.iter().map(|(_, ids)| ids.len()).sum();
    assert_eq!(ledger.len(), accepted);
    let messages: Vec<&str> = log.iter().filter_map(|line| line["message"].as_str()).collect();
    assert!(messages.iter().any(|said| said.contains(&format!(" {accepted} records = "))), "{messages:#?}");
}

#[test]
fn an_interrupt_stops_the_service_even_with_an_open_connection() {
    let folder = service_folder(&config("").replace("[serve]", "[serve]\ndrain = \"500ms\""));
    let service = Service::start(folder.path(), &[]);
    let idle = service.connect();
    let mut slow = service.connect();
    std::io::Write::write_all(&mut slow, crate::support::service::head("Content-Length: 10").as_bytes())
        .expect("it reads");
    service.post("{}");
    service.signal(Signal::INT);
    let (code, log, _) = {
        wait_until("it ends", || std::net::TcpStream::connect(&service.address).is_err());
        service.end_of_itself()
    };
    assert_eq!(code, Some(0), "{log:#?}");
    drop((idle, slow));
}

/// Two signals end it, whatever the history's last entries wait for.
#[cfg(target_os = "linux")]
#[test]
fn a_second_signal_ends_a_service_that_is_checking_a_package() {
    let (folder, service) = with_rules();
    put(folder.path(), SECOND, &slow_to_check(VERSIONED, "2.0.0"));
    wait_for_check(service.process());
    service.signal(Signal::INT);
    wait_until("it listens no more", || std::net::TcpStream::connect(&service.address).is_err());
    service.signal(Signal::TERM);
    let (code, log, _) = service.end_of_itself();
    let warned = "a second signal ended the service at once; the history may lack what happened last";
    assert!(log.iter().any(|line| line["message"] == warned), "{log:#?}");
    assert_eq!(code, Some(0));
}

/// A service with a folder of rules, in which there is [`FIRST`].
fn with_rules() -> (tempfile::TempDir, Service) {
    let folder = service_folder(&config("[limits]\nalerts-per-minute = 4000000000\n"));
    fs::create_dir(folder.path().join("rules")).expect("a folder");
    let rules = folder.path().join("rules");
    put(folder.path(), FIRST, &version("1.0.0", Does::Alert));
    let service = Service::start(folder.path(), &["--rules", rules.to_str().expect("UTF-8")]);
    (folder, service)
}

/// Puts a file there whole, as a careful person does.
fn put(folder: &Path, name: &str, bytes: &[u8]) {
    fs::write(folder.join("part"), bytes).expect("written");
    fs::rename(folder.join("part"), folder.join(name)).expect("renamed");
}

/// What is said of a version of [`VERSIONED`].
fn listed(service: &Service, version: &str) -> Option<Value> {
    let rules = service.get("/v1/rules").json()["replicas"][0]["rules"].clone();
    let is_it = |rule: &&Value| rule["rule_id"] == VERSIONED && rule["version"] == version;
    rules.as_array().into_iter().flatten().find(is_it).cloned()
}

fn stands(service: &Service, version: &str, state: &str) -> bool {
    listed(service, version).is_some_and(|rule| rule["state"] == state)
}

#[test]
fn rules_are_changed_while_batches_flow() {
    let (folder, service) = with_rules();
    let swaps = |action: &str| {
        let labels = [("tenant", "default"), ("rule", VERSIONED), ("action", action)];
        sum(&series(&service.get("/metrics").text), "portcullis_swaps_total", &labels)
    };
    wait_until("the first is active", || stands(&service, "1.0.0", "active"));
    let batch = vec![record(false); 50].join("\n");
    let mut records = 0;
    let mut send = || {
        let answer = service.post(&batch);
        assert_eq!(answer.status, 200, "{}", answer.text);
        records += 50;
    };
    let wait = |send: &mut dyn FnMut(), version: &str, state: &str| {
        let began = std::time::Instant::now();
        while !stands(&service, version, state) {
            assert!(began.elapsed() < crate::support::service::PATIENCE, "{version} is never {state}");
            send();
        }
        send();
    };
    send();
    put(folder.path(), SECOND, &version("2.0.0", Does::Nothing));
    wait(&mut send, "2.0.0", "active");
    assert_eq!(listed(&service, "1.0.0").expect("its file is there")["state"], "inactive");
    let before = swaps("activated");
    assert!(before >= 1, "{}", service.get("/metrics").text);

    // One whose test case fails is refused, and the reason is there.
    put(folder.path(), "rules/Test.Versioned@3.0.0.wasm", &version_that_fails("3.0.0", Does::Alert));
    wait(&mut send, "3.0.0", "refused");
    let refused = listed(&service, "3.0.0").expect("it is listed");
    assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("test case")), "{refused}");
    assert_eq!((swaps("activated"), swaps("refused")), (before, 1));
    assert!(stands(&service, "2.0.0", "active") && service.is_ready());

    // The versions took turns, and every record was judged by one of them.
    let ledger = lines_of(&data(&folder, "ledger.ndjson"));
    let mut said: Vec<(String, String)> = ledger
        .iter()
        .map(|line| (text(&line["rules"][VERSIONED]["version"]), text(&line["rules"][VERSIONED]["verdict"])))
        .collect();
    assert_eq!(said.len(), records);
    said.sort();
    said.dedup();
    let pair = |version: &str, verdict: &str| (version.to_owned(), verdict.to_owned());
    assert_eq!(said, [pair("1.0.0", "alert"), pair("2.0.0", "no-match")]);
    let counted = |rule: Value| rule["events"].as_u64().unwrap_or_default();
    let events = ["1.0.0", "2.0.0"].map(|version| counted(listed(&service, version).expect("it is listed")));
    assert_eq!(events.iter().sum::<u64>(), records as u64);

    // A service without a rule takes no records.
    for name in [FIRST, SECOND, "rules/Test.Versioned@3.0.0.wasm"] {
        fs::remove_file(folder.path().join(name)).expect("removed");
    }
    wait_until("it is not ready", || !service.is_ready());
    let answer = service.post(record(false));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text);
    assert!(answer.text.contains("tenant default has no active rule"), "{}", answer.text);
    put(folder.path(), SECOND, &version("2.0.0", Does::Nothing));
    wait_until("it is ready", || service.is_ready());
    assert_eq!(service.end().0, Some(0));
}

/// Two tenants share a client. One of them loses its rules, and later has one that is disabled on purpose.
#[test]
fn a_tenant_without_rules_holds_up_no_other() {
    let tenant = |name: &str, verb: &str| {
        format!("[[tenants]]\nname = \"{name}\"\nrules = [\"{name}\"]\nrecords = [{{ verb = \"{verb}\" }}]\n")
    };
    let folder = service_folder(&config(&(tenant("acme", "get") + &tenant("globex", "list"))));
    for name in ["acme", "globex"] {
        fs::create_dir(folder.path().join(name)).expect("made");
        put(folder.path(), &format!("{name}/1.wasm"), &version("1.0.0", Does::Alert));
    }
    let service = Service::start(folder.path(), &[]);
    wait_until("it is ready", || service.is_ready());
    let of_acme = record(false);
    let of_globex = of_acme.replace("get", "list");
    let both = format!("{of_acme}\n{of_globex}");
    fs::remove_file(folder.path().join("acme/1.wasm")).expect("removed");
    let has_rules = |tenant: &str| service.figure(&format!("portcullis_tenant_ready{{tenant=\"{tenant}\"}}")) > 0.5;
    wait_until("it has none", || !has_rules("acme"));
    assert!(has_rules("globex") && service.is_ready(), "others are served");

    let answer = service.post(of_acme.clone());
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text);
    for _ in 0..2 {
        let receipt = service.post(both.clone()).json();
        assert_eq!((&receipt["evaluated"], &receipt["alerts"]), (&json!(2), &json!(1)), "{receipt}");
        assert_eq!(receipt["warning"], "tenant acme has no active rule: 1 events are dead letters");
    }
    let dead_letters = lines_of(&data(&folder, "dead-letters.ndjson"));
    let said: Vec<_> =
        dead_letters.iter().map(|line| (&line["tenant"], &line["reason"], text(&line["record"]))).collect();
    let reason = json!("the tenant has no active rule");
    assert_eq!(said, [(&json!("acme"), &reason, of_acme.clone()), (&json!("acme"), &reason, of_acme.clone())]);

    let disabled = versioned_spec(true).replace("Enabled: true", "Enabled: false");
    let disabled = package(&Does::Alert.component(), &disabled, r#"{"version":"2.0.0","prefilter":{}}"#);
    put(folder.path(), "acme/2.wasm", &disabled);
    wait_until("it has one", || has_rules("acme"));
    let receipt = service.post(of_acme).json();
    assert_eq!((&receipt["evaluated"], &receipt["alerts"], receipt.get("warning")), (&json!(1), &json!(0), None));
    let (code, log, _) = service.end();
    assert_eq!(code, Some(0));
    let start = "tenant acme has no active rule; its events become dead letters";
    let is_it = |line: &&Value| line["message"].as_str().is_some_and(|message| message.starts_with(start));
    assert_eq!(log.iter().filter(is_it).count(), 1, "{log:#?}");
}

#[test]
fn faults_are_told_apart_by_their_kind() {
    let folder = service_folder(&config(""));
    fs::create_dir(folder.path().join("rules")).expect("made");
    put(folder.path(), FIRST, &version("1.0.0", Does::LoopOnLong));
    let rules = folder.path().join("rules");
    let service = Service::start(folder.path(), &["--rules", rules.to_str().expect("UTF-8")]);
    wait_until("it is active", || stands(&service, "1.0.0", "active"));
    let faults = 11;
    for _ in 0..faults {
        assert_eq!(service.post(record(true)).status, 200);
    }
    let figures = series(&service.get("/metrics").text);
    let of = |kind: &str| sum(&figures, "portcullis_faults_total", &[("rule", VERSIONED), ("kind", kind)]);
    assert_eq!((of("time"), of("suspended"), of("trap")), (10, 1, 0), "ten suspend it");
    assert_eq!(sum(&figures, "portcullis_verdicts_total", &[("rule", VERSIONED), ("verdict", "fault")]), faults);
    assert_eq!(sum(&figures, "portcullis_evaluation_seconds_count", &[("rule", VERSIONED)]), 10);
    assert_eq!(lines_of(&data(&folder, "dead-letters.ndjson")).len(), 11, "each can be judged again");
    assert_eq!(service.end().0, Some(0));
}

#[test]
fn every_route_is_documented() {
    let help = run(["--help"]).stdout;
    assert!(help.lines().any(|line| line.trim_start().starts_with("serve ")), "{help}");
    let ended = run(["serve"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("serve needs --config FILE"), "{}", ended.stderr);
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let answer = service.get(path);
        assert_eq!((answer.status, &*answer.text), (200, text));
    }
    let some: Vec<String> = events(5, 10).map(|(_, event)| event).collect();
    assert_eq!(service.post(event_list(some.iter().map(String::as_str))).status, 200);
}
