//! What no rule has seen: it is told, counted, and on record with its place and the reason, in a run and in a service.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::sync::Arc;

use portcullis::{Blind, Engine, Judge, Limits, RuleSet, embedded};
use serde_json::{Value, json};

use crate::support::service::{API, Service, config, data, lines_of, service_folder, wait_until};
use crate::support::{NODEPORT, run, run_accounted, run_with_input, spawn};

/// A record that no rule is blind to, and none matches.
const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"get"}"#;

/// What is no audit event, and says nothing of any.
const OTHER: &str = r#"{"message":"hello"}"#;

const SUSPECT: &str = r#"{"auditID":"a-1","spoke":"audit.k8s.io/v1"}"#;

/// A service that was created, as an audit policy at level Metadata has it recorded, with these members changed.
fn created(change: &Value) -> String {
    let mut record = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "b-1", "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/prod/services?fieldManager=kubectl", "verb": "create",
        "user": {"username": "ada"}, "objectRef": {"resource": "services", "namespace": "prod", "name": "web"},
        "responseStatus": {"code": 201},
    });
    for (key, value) in change.as_object().expect("an object") {
        record[key] = value.clone();
    }
    record.to_string()
}

/// The warnings of a blind rule.
fn blind(stderr: &str) -> Vec<&str> {
    let is_it = |line: &&str| line.contains("is blind to") || line.contains("cannot tell whether it matches");
    stderr.lines().filter(is_it).collect()
}

#[test]
fn each_input_that_no_rule_has_seen_is_told_once_with_the_first_record_and_the_reason() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, lines: &[String]| {
        fs::write(folder.path().join(name), lines.join("\n") + "\n").expect("written");
    };
    // More than a batch of each.
    let many = |line: &str| vec![line.to_owned(); 3_000];
    write("ignored", &many(OTHER));
    write("late", &[many(OTHER), vec![EVENT.to_owned()]].concat());
    write("rejected", &[many("no JSON"), many(OTHER)].concat());
    let long = json!({"p_log_type": "x".repeat(10_000)}).to_string();
    write("mixed", &["", EVENT, &long, SUSPECT, SUSPECT, "broken", "broken", EVENT].map(str::to_owned));
    write("empty", &[]);
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let inputs = ["ignored", "late", "mixed", "ignored", "rejected", "empty"].map(path);
    let runs = ["1", "2"].map(|threads| {
        let args = ["run", "--quiet", "--threads", threads].map(str::to_owned).into_iter().chain(inputs.clone());
        let ended = run(args);
        assert_eq!((ended.code, &*ended.stdout), (Some(0), ""));
        ended.stderr.replace(folder.path().to_str().expect("UTF-8"), "folder")
    });
    assert_eq!(runs[0], runs[1], "however many threads judge");
    insta::assert_snapshot!(runs[0]);
}

#[test]
fn of_an_input_that_does_not_end_it_is_told_as_soon_as_there_is_enough() {
    let mut child = spawn(["run", "-", "--quiet"]);
    let mut stdin = child.stdin.take().expect("piped");
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    for _ in 0..1_000 {
        stdin.write_all(format!("{OTHER}\n").as_bytes()).expect("it reads");
    }
    let mut told = String::new();
    stderr.read_line(&mut told).expect("a warning while the input is still open");
    let start = "portcullis: standard input: warning: none of 1000 records was evaluated: 1000 ignored. ";
    assert!(told.starts_with(start), "{told}");
    stdin.write_all(format!("{OTHER}\n").as_bytes()).expect("it reads");
    drop(stdin);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("UTF-8");
    assert_eq!(rest, "", "it was told once");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn the_ledger_says_where_what_was_not_evaluated_stands_and_why() {
    let long = "x".repeat(10_000);
    let lines = [
        SUSPECT.to_owned(),
        r#"{"AuditId":"a-2"}"#.to_owned(),
        r#"{"auditID":5,"AuditId":"a-3"}"#.to_owned(),
        json!({"auditID": long}).to_string(),
        json!({"auditID": "a-5", "filler": "x".repeat(1 << 20)}).to_string(),
        json!({"inside": {"auditID": "a-6"}}).to_string(),
        json!({"p_log_type": long, "auditID": "a-7"}).to_string(),
        "[7]".to_owned(),
    ];
    let run = run_accounted(lines.join("\n").as_bytes(), &[]);
    let shape = "not the shape of a Kubernetes audit record of EKS, AKS or GKE";
    let expected = [
        (Some("a-1"), format!("{shape}, and yet it has the text audit.k8s.io/")),
        (Some("a-2"), shape.to_owned()),
        (Some("a-3"), shape.to_owned()),
        (None, shape.to_owned()),
        (None, shape.to_owned()),
        (None, shape.to_owned()),
        (Some("a-7"), format!("p_log_type is \"{}…", "x".repeat(300 - "p_log_type is \"".len()))),
    ];
    for (n, (line, (id, reason))) in run.ledger.iter().zip(expected).enumerate() {
        assert_eq!(line["outcome"], "ignored", "{line}");
        assert_eq!((line["audit_id"].as_str(), line["reason"].as_str()), (id, Some(&*reason)), "{line}");
        assert_eq!(line["place"], format!("standard input:{}", n + 1), "{line}");
    }
    let last = &run.ledger[7];
    assert_eq!((&last["outcome"], &last["place"]), (&json!("rejected"), &json!("standard input:8 [0]")));
    assert_eq!(last["reason"], "not a JSON object");
    assert!(
        run.ended.stderr.contains(" = 0 evaluated (0 with malformed fields) + 7 ignored (1 suspect) + 1 rejected\n")
    );
}

#[test]
fn a_rule_that_cannot_see_what_it_goes_by_is_told_once() {
    for change in [
        json!({}),
        json!({"requestObject": null}),
        json!({"requestObject": "skipped-too-big-size-object"}),
        json!({"requestObject": {"metadata": {"name": "web"}}}),
        json!({"stage": null, "responseStatus": null}),
        json!({"objectRef": {"resource": "services", "apiGroup": ""}}),
    ] {
        let ended = run_with_input(["run", "-"], (created(&change) + "\n").repeat(3).as_bytes());
        let said = blind(&ended.stderr);
        let [said] = said[..] else { panic!("{change}: {}", ended.stderr) };
        let expected = format!(
            "portcullis: standard input:1: {NODEPORT} 1.0.0: warning: it is blind to this record and to others like it: it goes by \
             the service's type, and the record has no requestObject. The audit policy records create of services at level \
             Metadata: set level: Request or RequestResponse there, or the rule cannot match them"
        );
        assert_eq!(said, expected, "{change}");
    }
    let whole = created(&json!({"requestObject": {"spec": {"type": "NodePort"}}}));
    let cut = &whole[..whole.find("\"spec\"").expect("it has one")];
    let ended = run_with_input(
        ["run", "-"],
        format!("{cut}\n{}\n{cut}\n{}\n", created(&json!({})), created(&json!({}))).as_bytes(),
    );
    let said = blind(&ended.stderr);
    assert_eq!(said.len(), 2, "{}", ended.stderr);
    assert!(
        said[0]
            .starts_with(&format!("portcullis: standard input:1: {NODEPORT} 1.0.0: warning: it cannot tell whether"))
    );
    assert!(said[1].starts_with(&format!("portcullis: standard input:2: {NODEPORT} 1.0.0: warning: it is blind to")));
}

#[test]
fn a_rule_is_blind_to_nothing_that_it_would_not_match_anyway() {
    let changes = [
        json!({"requestObject": {"spec": {"type": "NodePort"}}}),
        json!({"requestObject": {"spec": {"ports": []}}}),
        json!({"verb": "get"}),
        json!({"verb": "delete"}),
        json!({"stage": "RequestReceived"}),
        json!({"responseStatus": {"code": 403}}),
        json!({"responseStatus": {"code": 7}}),
        json!({"requestURI": "/api/v1/namespaces/prod/services?dryRun=All&fieldManager=kubectl"}),
        json!({"objectRef": {"resource": "configmaps"}}),
        json!({"objectRef": {"resource": "services", "apiGroup": "serving.knative.dev"}}),
        json!({"objectRef": {"resource": "services", "subresource": "proxy"}}),
    ];
    let lines: Vec<String> = changes.iter().map(created).collect();
    let run = run_accounted(lines.join("\n").as_bytes(), &[]);
    assert_eq!(run.ledger.len(), changes.len());
    assert_eq!(blind(&run.ended.stderr), [""; 0], "{}", run.ended.stderr);
}

/// Whoever embeds the library need not ask.
#[test]
fn a_judge_knows_the_rules_that_the_last_event_left_blind() {
    let engine = Engine::new().expect("an engine");
    let rules = RuleSet::new(embedded::packages(&engine).expect("the rules")).expect("two rules");
    let mut judge = Judge::new(Arc::new(rules), Limits::default());
    let record = created(&json!({}));
    for _ in 0..3 {
        judge.record(record.as_bytes());
    }
    let blind = judge.take_blind();
    let [Blind { package, verb, resource, cut_off: false }] = &blind[..] else { panic!("{blind:?}") };
    assert_eq!((package.rule_id(), &**verb, &**resource), (NODEPORT, "create", "services"));
    judge.record(record.as_bytes());
    judge.record(EVENT.as_bytes());
    assert!(judge.take_blind().is_empty());
}

#[test]
fn each_tenants_rule_is_told_of() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config.toml");
    let tenant = |name: &str| format!("[[tenants]]\nname = {name:?}\nrecords = [{{ p_source_label = {name:?} }}]\n");
    fs::write(&config, tenant("acme") + &tenant("globex")).expect("written");
    let lines = ["acme", "globex", "acme", "nobody"].map(|label| created(&json!({"p_source_label": label})));
    let args = ["run", "-", "--config", config.to_str().expect("UTF-8")];
    let ended = run_with_input(args, lines.join("\n").as_bytes());
    let said = blind(&ended.stderr);
    assert_eq!(said.len(), 2, "{}", ended.stderr);
    for (said, start) in said.iter().zip([
        "1: Kubernetes.Service.NodePort.Deployed 1.0.0 of acme",
        "2: Kubernetes.Service.NodePort.Deployed 1.0.0 of globex",
    ]) {
        assert!(said.starts_with(&format!("portcullis: standard input:{start}: warning: ")), "{said}");
    }
}

/// The messages of a log at level warn that have this in them.
fn warned<'l>(log: &'l [Value], text: &str) -> Vec<&'l str> {
    let warnings = log.iter().filter(|line| line["level"] == "WARN");
    warnings.filter_map(|line| line["message"].as_str()).filter(|said| said.contains(text)).collect()
}

#[test]
fn a_service_tells_whoever_brings_what_no_rule_sees_and_whoever_operates_it() {
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    let unseen = format!("{OTHER}\n{SUSPECT}\n");
    let warning = "none of 2 records was evaluated: 2 ignored. The first that was ignored is api:1: not the shape of a Kubernetes \
                   audit record of EKS, AKS or GKE. portcullis explain FILE shows what a record is taken for";
    for _ in 0..2 {
        let receipt = service.post(&unseen).json();
        assert_eq!(
            (&receipt["ignored"], &receipt["suspect"], &receipt["warning"]),
            (&json!(2), &json!(1), &json!(warning))
        );
    }
    let receipt = service.post(format!("{EVENT}\n{unseen}broken\n")).json();
    assert_eq!((&receipt["evaluated"], &receipt["suspect"], receipt.get("warning")), (&json!(1), &json!(1), None));
    assert_eq!(service.post(format!("{EVENT}\nbroken\n")).json()["rejected"], 1);
    // It is news again.
    assert_eq!(service.post(&unseen).json()["warning"], warning);
    assert_eq!(service.post((created(&json!({})) + "\n").repeat(3)).status, 200);
    assert_eq!(service.post(created(&json!({}))).status, 200);

    let ledger = lines_of(&data(&folder, "ledger.ndjson"));
    let line = &ledger[1];
    assert_eq!(
        (&line["place"], &line["audit_id"], &line["outcome"]),
        (&json!("api:2"), &json!("a-1"), &json!("ignored"))
    );
    assert!(line["reason"].as_str().is_some_and(|reason| reason.ends_with("it has the text audit.k8s.io/")), "{line}");
    let text = fs::read_to_string(data(&folder, "ledger.ndjson")).expect("it is there");
    for line in text.lines() {
        assert_eq!(line.matches("\"place\":").count(), 1, "{line}");
        assert!(line.matches("\"audit_id\":").count() <= 1, "{line}");
    }
    assert_eq!(figure(&service, r#"portcullis_suspect_records_total{tenant="default"}"#), "4");
    assert_eq!(figure(&service, r#"portcullis_ignored_deliveries_total{client="api"}"#), "3");
    let blind = format!("portcullis_blind_events_total{{tenant=\"default\",rule=\"{NODEPORT}\"}}");
    assert_eq!(figure(&service, &blind), "4");

    let (code, log, _) = service.end();
    assert_eq!(code, Some(0));
    let twice = warned(&log, "records was evaluated");
    assert_eq!(twice, [&*format!("api: warning: {warning}"); 2], "{log:#?}");
    let once = [
        (
            "the record was ignored, and yet",
            "api:2: warning: the record was ignored, and yet its text has audit.k8s.io/",
        ),
        ("the record is rejected", "api:4: warning: the record is rejected: not JSON: "),
        ("is blind to", "api:1: Kubernetes.Service.NodePort.Deployed 1.0.0: warning: it is blind to"),
    ];
    for (text, start) in once {
        let said = warned(&log, text);
        assert!(said.len() == 1 && said[0].starts_with(start), "{text}: {said:#?}");
    }
}

/// A figure as it is written.
fn figure(service: &Service, name: &str) -> String {
    service.figure(name).to_string()
}

/// Names that clients give themselves make no series without end, and no others than theirs.
#[test]
fn what_lies_in_a_stream_is_told_in_the_same_way() {
    let nats = crate::support::nats::Nats::start();
    let folder = service_folder(&config(&format!("[serve.jetstream]\nurl = {:?}\n", nats.url())));
    let service = Service::start(folder.path(), &[]);
    wait_until("it is ready", || service.is_ready());
    let receipt = service.ask(API, "POST", "/v1/records", SUSPECT.as_bytes()).json();
    assert_eq!((&receipt["stored"], &receipt["suspect"]), (&json!(true), &json!(1)));
    let warning = receipt["warning"].as_str().expect("a warning");
    assert!(
        warning.starts_with("none of 1 records was evaluated: 1 ignored. The first that was ignored is api:1: "),
        "{warning}"
    );
    assert_eq!(service.ask(API, "POST", "/v1/records", EVENT.as_bytes()).json().get("warning"), None);
    nats.publish("portcullis.records", &[("Portcullis-Client", "a\"b")], OTHER.as_bytes());
    wait_until("all is judged", || nats.unjudged() == 0 && lines_of(&data(&folder, "ledger.ndjson")).len() == 3);
    for client in ["api", "(others)"] {
        let name = format!("portcullis_ignored_deliveries_total{{client=\"{client}\"}}");
        wait_until(&name, || service.get("/metrics").text.contains(&name));
        assert_eq!(figure(&service, &name), "1");
    }
    assert_eq!(figure(&service, r#"portcullis_suspect_records_total{tenant="default"}"#), "1");
    let (_, log, _) = service.end();
    assert_eq!(warned(&log, "api: warning: none of 1 records was evaluated").len(), 1, "{log:#?}");
}
