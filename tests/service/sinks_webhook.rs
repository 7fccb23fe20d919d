//! A sink that is somebody's HTTP endpoint: every alert arrives, in order, whatever becomes of the endpoint or the service.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;

use serde_json::{Value, json};

use crate::support::api_server::event_list;
use crate::support::certificates::Authority;
use crate::support::endpoint::{Endpoint, Posted};
use crate::support::service::{EYES, Service, config, data, lines_of, service_folder, wait_until};
use crate::support::{Does, VERSIONED, hostile, record, run_accounted, sample, text, version};

fn eks() -> Vec<u8> {
    fs::read(sample("eks.ndjson")).expect("the sample")
}

/// The config of a service with a webhook that has these keys.
fn with_webhook(url: &str, keys: &str) -> String {
    config(&format!("[[serve.sinks]]\nname = \"soc\"\ntype = \"webhook\"\nurl = \"{url}\"\n{keys}\n"))
}

fn service(url: &str, keys: &str) -> (tempfile::TempDir, Service) {
    let folder = service_folder(&with_webhook(url, keys));
    let service = Service::start(folder.path(), &[]);
    (folder, service)
}

/// Events of NodePort services, each of which is an alert, with ids that begin so.
fn nodeports(prefix: &str, count: usize) -> Vec<String> {
    let event = |n| {
        json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "verb": "create", "user": {"username": "ada"},
            "requestReceivedTimestamp": "2020-01-01T00:00:00Z", "auditID": format!("{prefix}-{n}"),
            "objectRef": {"resource": "services", "namespace": "prod", "name": format!("{prefix}-{n}")},
            "requestObject": {"spec": {"type": "NodePort"}},
        })
        .to_string()
    };
    (0..count).map(event).collect()
}

fn post(service: &Service, events: &[String]) {
    let answer = service.post(event_list(events.iter().map(String::as_str)));
    assert_eq!(answer.status, 200, "{}", answer.text);
}

fn ids(alerts: &[Value]) -> Vec<String> {
    alerts.iter().map(|alert| text(&alert["alert_id"])).collect()
}

fn wait_for(endpoint: &Endpoint, count: usize) -> Vec<Value> {
    wait_until("the alerts are taken", || endpoint.taken().len() >= count);
    endpoint.taken()
}

fn dead(folder: &tempfile::TempDir) -> Vec<Value> {
    let lines = lines_of(&data(folder, "dead-letters.ndjson"));
    lines.into_iter().filter(|line| line.get("sink").is_some()).collect()
}

#[test]
fn each_alert_is_posted_once_and_in_order_also_after_failures() {
    let endpoint = Endpoint::start(&[503, 429, 200]);
    let folder = service_folder(&with_webhook(&endpoint.url(), "authorization-file = \"soc\""));
    fs::write(folder.path().join("soc"), "Splunk a-secret-of-the-soc\n").expect("written");
    let service = Service::start(folder.path(), &[]);
    for _ in 0..2 {
        assert_eq!(service.post(eks()).json()["alerts"], 6);
    }
    assert_eq!(wait_for(&endpoint, 6), run_accounted(&eks(), &[]).alerts);
    let posted = endpoint.posted();
    let statuses: Vec<u16> = posted.iter().map(|posted| posted.status).collect();
    assert_eq!(statuses, [503, 429, 200, 200, 200, 200, 200, 200]);
    for posted in &posted {
        let [alert] = &posted.alerts()[..] else { panic!("{posted:?}") };
        assert_eq!(posted.header("idempotency-key"), alert["alert_id"].as_str());
        assert_eq!(posted.header("content-type"), Some("application/json"));
        assert_eq!(posted.header("authorization"), Some("Splunk a-secret-of-the-soc"));
        assert!(posted.header("user-agent").is_some_and(|agent| agent.starts_with("portcullis/")));
    }
    let waiting = || service.figure(r#"portcullis_sink_waiting_bytes{sink="soc"}"#);
    wait_until("nothing waits any more", || waiting() < 1.0);
    let (_, log, _) = service.end();
    let log = format!("{log:?}");
    assert!(log.contains("503") && !log.contains("a-secret"), "{log}");
    assert_eq!(endpoint.taken().len(), 6);
}

#[test]
fn requests_are_lines_and_have_at_most_the_configured_number_of_alerts() {
    let address = Endpoint::nobody();
    let (_folder, service) = service(&format!("http://{address}/hook"), "alerts-per-request = 10\nformat = \"ocsf\"");
    let events = nodeports("batch", 25);
    post(&service, &events);
    let endpoint = Endpoint::start_at(address, &[200], None);
    let findings = wait_for(&endpoint, 25);
    let names: Vec<String> = findings.iter().map(|finding| text(&finding["finding_info"]["uid"])).collect();
    let expected = run_accounted(events.join("\n").as_bytes(), &[]).alerts;
    assert_eq!(names, ids(&expected));
    let posted = endpoint.posted();
    assert_eq!(posted.iter().map(|posted| posted.alerts().len()).collect::<Vec<_>>(), [10, 10, 5]);
    let is_lines = |posted: &Posted| posted.header("content-type") == Some("application/x-ndjson");
    assert!(posted.iter().all(is_lines), "{posted:?}");
}

#[test]
fn only_alerts_that_are_refused_alone_become_dead_letters() {
    let address = Endpoint::nobody();
    let (folder, service) = service(&format!("http://{address}/hook"), "alerts-per-request = 10");
    let events = nodeports("mixed", 3);
    post(&service, &events);
    let endpoint = Endpoint::start_at(address, &[400, 200, 422, 200], None);
    let taken = wait_for(&endpoint, 2);
    let expected = ids(&run_accounted(events.join("\n").as_bytes(), &[]).alerts);
    assert_eq!(ids(&taken), [&*expected[0], &*expected[2]]);
    wait_until("there is a dead letter", || dead(&folder).len() == 1);
    assert_eq!(dead(&folder)[0]["alert"]["alert_id"], *expected[1]);
}

#[test]
fn a_refused_alert_becomes_a_dead_letter_with_sink_and_reason() {
    let endpoint = Endpoint::start(&[400, 200]);
    let (folder, refused) = service(&endpoint.url(), "");
    let events = nodeports("refused", 2);
    post(&refused, &events);
    wait_for(&endpoint, 1);
    let expected = run_accounted(events.join("\n").as_bytes(), &[]).alerts;
    let [letter] = &dead(&folder)[..] else { panic!("{:?}", dead(&folder)) };
    assert_eq!((&letter["sink"], &letter["alert"]), (&json!("soc"), &expected[0]));
    assert!(letter["reason"].as_str().is_some_and(|reason| reason.contains("400")), "{letter}");
    assert_eq!(ids(&endpoint.taken()), ids(&expected[1..]), "the next are posted");

    // Nobody is there, for longer than it is tried.
    let (folder, given_up) = service(&format!("http://{}/hook", Endpoint::nobody()), "give-up = \"300ms\"");
    post(&given_up, &events);
    wait_until("they are given up", || dead(&folder).len() == 2);
    let letters = dead(&folder);
    let alerts: Vec<Value> = letters.iter().map(|letter| letter["alert"].clone()).collect();
    assert_eq!(alerts, expected);
    let is_given_up = |letter: &Value| letter["reason"].as_str().is_some_and(|reason| reason.starts_with("given up: "));
    assert!(letters.iter().all(is_given_up), "{letters:?}");
    assert!(given_up.is_ready(), "it takes records");
}

#[test]
fn only_alerts_whose_time_is_over_are_given_up() {
    let endpoint = Endpoint::start(&[503, 200]);
    let folder = service_folder(&with_webhook(&endpoint.url(), "alerts-per-request = 10\ngive-up = \"1h\""));
    // Alerts that wait, each behind the time since which it does: the first two for half a century.
    let alert = |n: u64| json!({"alert_id": format!("{n:032x}")});
    let now = std::time::UNIX_EPOCH.elapsed().expect("later").as_millis();
    let line = |(n, since)| format!("{since} {}\n", alert(n));
    let spool = data(&folder, "soc.spool");
    fs::create_dir_all(&spool).expect("a folder");
    let lines: String = [(0, 0), (1, 1000), (2, now), (3, now)].map(line).concat();
    fs::write(spool.join("00000000000000000000.spool"), lines).expect("written");
    let _service = Service::start(folder.path(), &[]);
    assert_eq!(wait_for(&endpoint, 2), [alert(2), alert(3)]);
    let letters: Vec<Value> = dead(&folder).iter().map(|letter| letter["alert"].clone()).collect();
    assert_eq!(letters, [alert(0), alert(1)]);
}

/// Addresses of webhooks are often all that it takes to post there.
#[test]
fn paths_and_queries_of_endpoints_are_not_shown() {
    let endpoint = Endpoint::start(&[503, 400]);
    let url = format!("http://{}/services/a-secret-path?key=a-secret-key", endpoint.address);
    let (folder, service) = service(&url, "");
    post(&service, &nodeports("secret", 1));
    wait_until("it is a dead letter", || dead(&folder).len() == 1);
    let live = service.live(EYES, |kind, _| kind == "overview");
    let host = endpoint.address.to_string();
    let (_, log, _) = service.end();
    for text in [format!("{log:?}"), format!("{live:?}"), format!("{:?}", dead(&folder))] {
        assert!(text.contains(&host) && !text.contains("a-secret"), "{text}");
    }
}

#[test]
fn an_untrusted_tls_endpoint_gets_no_alerts() {
    let (authority, other) = (Authority::new("endpoints"), Authority::new("others"));
    let endpoint = Endpoint::start_with_tls(&[200], &authority.server());
    let strange = Endpoint::start_with_tls(&[200], &other.server());
    let sink = |name: &str, endpoint: &Endpoint| {
        let url = format!("https://localhost:{}/hook", endpoint.address.port());
        format!("[[serve.sinks]]\nname = \"{name}\"\ntype = \"webhook\"\nurl = \"{url}\"\nca = \"ca.pem\"\n")
    };
    let folder = service_folder(&config(&(sink("soc", &endpoint) + &sink("strange", &strange))));
    fs::write(folder.path().join("ca.pem"), &authority.pem).expect("written");
    let service = Service::start(folder.path(), &[]);
    post(&service, &nodeports("tls", 2));
    wait_for(&endpoint, 2);
    let waiting = |name: &str| service.figure(&format!("portcullis_sink_waiting_bytes{{sink=\"{name}\"}}"));
    wait_until("what was taken does not wait", || waiting("soc") < 1.0);
    wait_until("the other is known not to take any", || service.figure(r#"portcullis_sink_ok{sink="strange"}"#) < 0.5);
    assert!(waiting("strange") > 100.0);
    assert!(strange.posted().is_empty());
}

#[test]
fn waiting_alerts_are_posted_after_a_kill_and_a_restart() {
    let address = Endpoint::nobody();
    let url = format!("http://{address}/hook");
    let (folder, mut running) = service(&url, "alerts-per-request = 7");
    let mut events = Vec::new();
    for kill in 0..3 {
        let some = nodeports(&format!("kill-{kill}"), 20);
        post(&running, &some);
        events.extend(some);
        running.kill();
        running = Service::start(folder.path(), &[]);
        // What comes again is there already.
        post(&running, &events);
    }
    let expected: Vec<Value> = run_accounted(events.join("\n").as_bytes(), &[]).alerts;
    let endpoint = Endpoint::start_at(address, &[200], None);
    assert_eq!(ids(&wait_for(&endpoint, 60)), ids(&expected), "all of them, once and in order");
    // Killed while they are posted, some may come twice, and none is lost.
    let more = nodeports("more", 300);
    post(&running, &more);
    wait_for(&endpoint, 75);
    running.kill();
    let service = Service::start(folder.path(), &[]);
    let taken = || ids(&endpoint.taken()).into_iter().collect::<HashSet<_>>();
    wait_until("all are taken", || taken().len() == 360);
    let waiting = || service.figure(r#"portcullis_sink_waiting_bytes{sink="soc"}"#);
    wait_until("nothing waits any more", || waiting() < 1.0);
    assert!(endpoint.taken().len() <= 367, "at most the batch that was on its way comes twice");
    assert_eq!(service.end().0, Some(0));
}

#[test]
fn batches_are_refused_while_the_spool_is_full() {
    let address = Endpoint::nobody();
    let (folder, service) = service(&format!("http://{address}/hook"), "spool = \"1MiB\"\nalerts-per-request = 1000");
    let mut accepted = Vec::new();
    let mut refused = Vec::new();
    for n in 0..100 {
        let events = nodeports(&format!("full-{n}"), 100);
        let answer = service.post(event_list(events.iter().map(String::as_str)));
        if answer.status == 200 {
            accepted.extend(events);
        } else {
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text);
            refused = events;
            break;
        }
    }
    assert!(!accepted.is_empty() && !refused.is_empty(), "a mebibyte is full at some time");
    assert_eq!(service.get("/readyz").status, 503);
    assert_eq!(service.post("{}").status, 200, "what has no alert needs no spool");
    let endpoint = Endpoint::start_at(address, &[200], None);
    wait_for(&endpoint, accepted.len());
    // Whoever asks whether it is ready sends nothing until it says so.
    wait_until("it is ready again", || service.is_ready());
    post(&service, &refused);
    let expected = run_accounted([accepted, refused].concat().join("\n").as_bytes(), &[]).alerts;
    assert_eq!(ids(&wait_for(&endpoint, expected.len())), ids(&expected));
    assert!(dead(&folder).is_empty());
    assert_eq!(service.end().0, Some(0));
}

/// The endpoint is down while a rule of one tenant answers with 63 KB again and again, until its half of the default spool
/// is full. The tenants share a client.
#[test]
fn a_tenant_whose_alerts_wait_holds_up_no_other() {
    let tenant = |name: &str, verb: &str| {
        format!("[[tenants]]\nname = \"{name}\"\nrules = [\"{name}\"]\nrecords = [{{ verb = \"{verb}\" }}]\n")
    };
    let address = Endpoint::nobody();
    let webhook = format!("[[serve.sinks]]\nname = \"soc\"\ntype = \"webhook\"\nurl = \"http://{address}/hook\"\n");
    let folder = service_folder(&config(&[&*webhook, &tenant("acme", "create"), &tenant("globex", "get")].concat()));
    for (name, package) in [("acme", hostile("large-contexts")), ("globex", version("1.0.0", Does::Alert))] {
        fs::create_dir(folder.path().join(name)).expect("made");
        fs::write(folder.path().join(name).join("rule.wasm"), package).expect("written");
    }
    let service = Service::start(folder.path(), &[]);
    let event =
        |verb: &str, n: u64| record(false).replace("\"get\"", &format!("\"{verb}\",\"auditID\":\"{n}\"")) + "\n";
    let (batches, each) = (12, 250);
    let mut alerts = 0;
    for batch in 0..batches {
        let numbers = batch * each..(batch + 1) * each;
        let body: String = numbers.map(|n| event("create", n)).chain([event("get", batch)]).collect();
        let answer = service.post(body);
        assert_eq!(answer.status, 200, "batch {batch}: {}", answer.text);
        alerts += answer.json()["alerts"].as_u64().expect("a number");
    }
    // 128 MiB are 2,130 alerts; the others are dead letters of their tenant.
    let of_acme = alerts - batches;
    assert!((2_000..2_200).contains(&of_acme), "{of_acme}");
    let letters = lines_of(&data(&folder, "dead-letters.ndjson"));
    assert_eq!(letters.len() as u64, batches * each - of_acme);
    assert!(letters.iter().all(|letter| letter["tenant"] == "acme"));
    assert!(service.is_ready(), "it takes records");
    assert!(service.figure("portcullis_sink_waiting_bytes{sink=\"soc\"}") > 120e6);

    let endpoint = Endpoint::start_at(address, &[200], None);
    // The alert's own members come first.
    let is_of = |rule: &str, posted: &Posted| {
        posted.body.as_bytes()[..500.min(posted.body.len())].windows(rule.len()).any(|part| part == rule.as_bytes())
    };
    let posted_of = |rule: &str| endpoint.count(|posted| is_of(rule, posted));
    wait_until("the other tenant's alerts are taken", || posted_of(VERSIONED) >= batches);
    // Each tenant tries again after pauses of its own, which are random, so either may begin. One queue of all would have
    // 250 alerts of acme between two of globex.
    let of_globex = Cell::new(0);
    let between = endpoint.count(|posted| {
        of_globex.set(of_globex.get() + u64::from(is_of(VERSIONED, posted)));
        (1..batches).contains(&of_globex.get()) && is_of("Hostile.large-contexts", posted)
    });
    assert!(between < of_acme / 2, "{between} of {of_acme}: they did not wait for those of the first");
    wait_until("all are taken", || posted_of("Hostile.large-contexts") >= of_acme);
    assert_eq!(service.end().0, Some(0));
}

/// Alerts that wait when the tenants in the config change are posted nevertheless.
#[test]
fn waiting_alerts_of_a_former_config_are_posted() {
    let address = Endpoint::nobody();
    let webhook = format!("[[serve.sinks]]\nname = \"soc\"\ntype = \"webhook\"\nurl = \"http://{address}/hook\"\n");
    let tenant = |name: &str| format!("[[tenants]]\nname = \"{name}\"\nrecords = [{{ auditID = \"{name}-0\" }}]\n");
    let folder = service_folder("");
    let configs =
        [webhook.clone(), webhook.clone() + &tenant("a") + &tenant("b"), webhook.clone() + &tenant("b") + &tenant("c")];
    for (config_, prefix) in configs.iter().zip(["a", "a", "b"]) {
        fs::write(folder.path().join("config.toml"), config(config_)).expect("written");
        let service = Service::start(folder.path(), &[]);
        let record = nodeports(prefix, 1).concat().replace("2020", if config_ == &webhook { "2019" } else { "2020" });
        post(&service, &[record]);
        assert_eq!(service.end().0, Some(0));
    }
    fs::write(folder.path().join("config.toml"), config(&webhook)).expect("written");
    let _service = Service::start(folder.path(), &[]);
    let endpoint = Endpoint::start_at(address, &[200], None);
    assert_eq!(wait_for(&endpoint, 3).len(), 3);
}
