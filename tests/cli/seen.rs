//! What no rule has seen: it is told, counted, and on record with its place and the reason, in a run and in a service.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::sync::Arc;

use portcullis::pipeline::Blind;
use portcullis::{Engine, Judge, Limits, RuleSet, embedded};
use serde_json::json;

use crate::support::seen::{EVENT, OTHER, SUSPECT, created};
use crate::support::{NODEPORT, run, run_accounted, run_with_input, spawn};

/// The warnings of a blind rule.
fn blind(stderr: &str) -> Vec<&str> {
    let is_it = |line: &&str| line.contains("is blind to") || line.contains("this record is cut off");
    stderr.lines().filter(is_it).collect()
}

#[test]
fn each_input_that_no_rule_saw_is_reported_once_with_its_first_record_and_the_reason() {
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
fn an_endless_input_is_reported_as_soon_as_it_is_clear() {
    let mut child = spawn(["run", "-", "--quiet"]);
    let mut stdin = child.stdin.take().expect("piped");
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    for _ in 0..1_000 {
        stdin.write_all(format!("{OTHER}\n").as_bytes()).expect("it reads");
    }
    let mut told = String::new();
    stderr.read_line(&mut told).expect("a warning while the input is still open");
    let start = "portcullis: standard input: warning: no record was evaluated: 1000 read, 1000 ignored. ";
    assert!(told.starts_with(start), "{told}");
    stdin.write_all(format!("{OTHER}\n").as_bytes()).expect("it reads");
    drop(stdin);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("UTF-8");
    assert_eq!(rest, "", "it was told once");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn the_ledger_has_place_and_reason_of_each_record_that_was_not_evaluated() {
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
        (Some("a-1"), format!("{shape}, but its text contains audit.k8s.io/")),
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
fn a_blind_rule_is_reported_once() {
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
            "portcullis: standard input:1: {NODEPORT} 1.0.0: warning: it is blind to this record and to others like \
             it: it uses the service's type, and the record has no requestObject. The audit policy records create of \
             services at level Metadata: set level: Request or RequestResponse there, or the rule cannot match them"
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
            .starts_with(&format!("portcullis: standard input:1: {NODEPORT} 1.0.0: warning: this record is cut off"))
    );
    assert!(said[1].starts_with(&format!("portcullis: standard input:2: {NODEPORT} 1.0.0: warning: it is blind to")));
}

#[test]
fn a_rule_is_blind_only_to_records_that_it_could_match() {
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
fn blind_rules_are_reported_for_each_tenant() {
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
