//! What a real API server wrote, into its log and to its webhook: all of it is judged, and alike.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::api_server::event_list;
use crate::support::service::{Service, config, data, lines_of, service_folder};
use crate::support::{NODEPORT, Run, project, run_accounted, text};

fn file(name: &str) -> Vec<u8> {
    fs::read(project("fixtures/apiserver").join(name)).expect(name)
}

/// What the webhook posted, in the order in which it did.
fn batches() -> Vec<Vec<u8>> {
    (0..6).map(|number| file(&format!("webhook-{number}.json"))).collect()
}

/// What `run` makes of the log.
fn of_the_log() -> Run {
    run_accounted(&file("audit.log"), &[])
}

fn assert_all_is_judged(run: &Run) {
    assert_eq!(run.ended.code, Some(0), "{}", run.ended.stderr);
    let account = "45 records = 45 evaluated (0 with malformed fields) + 0 ignored + 0 rejected";
    assert!(run.ended.stderr.contains(account), "{}", run.ended.stderr);
}

#[test]
fn its_log_gives_exactly_the_alerts_of_its_deployments() {
    let run = of_the_log();
    assert_all_is_judged(&run);
    assert!(run.alerts.iter().all(|alert| alert["rule_id"] == NODEPORT), "{:?}", run.alerts);
    let named = |alert: &Value| {
        let of = |name: &str| text(&alert["context"][name]);
        [of("username"), of("namespace"), of("name")]
    };
    let named: Vec<[String; 3]> = run.alerts.iter().map(named).collect();
    assert_eq!(
        named,
        [
            ["kubernetes-admin", "shop", "web"],
            ["kubernetes-admin", "shop", "gen-s8nnt"],
            ["system:serviceaccount:shop:web", "shop", "stolen"],
        ]
    );
}

#[test]
fn webhook_batches_give_the_alerts_of_the_log() {
    let log = of_the_log();
    let files = batches().concat();
    let webhook = run_accounted(&files, &[]);
    assert_all_is_judged(&webhook);
    assert_eq!(webhook.alerts, log.alerts);
    let paths: Vec<PathBuf> = (0..6).map(|n| project("fixtures/apiserver").join(format!("webhook-{n}.json"))).collect();
    let args = ["run", "--format", "ndjson"].map(PathBuf::from).into_iter().chain(paths);
    let ended = crate::support::run(args);
    assert_eq!(ended.stdout, log.ended.stdout);
}

#[test]
fn webhook_batches_to_the_service_give_the_alerts_of_the_log() {
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    let mut records = 0;
    for batch in batches() {
        let answer = service.post(batch);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let receipt = answer.json();
        assert_eq!(receipt["rejected"], 0, "{receipt}");
        records += receipt["records"].as_u64().expect("a number");
    }
    assert_eq!(records, 45);
    let ledger = lines_of(&data(&folder, "ledger.ndjson"));
    let is_whole =
        |line: &Value| line["outcome"] == "evaluated" && line["malformed"].as_array().is_some_and(Vec::is_empty);
    assert_eq!((ledger.len(), ledger.iter().filter(|line| is_whole(line)).count()), (45, 45));
    assert_eq!(lines_of(&data(&folder, "alerts.ndjson")), of_the_log().alerts);
    // The log brings nothing that is not there: a record that was lost on its way is brought by the log, and no alert comes twice.
    assert_eq!(service.post(file("audit.log")).status, 200);
    assert_eq!(lines_of(&data(&folder, "alerts.ndjson")), of_the_log().alerts);
    assert_eq!(service.end().0, Some(0));
}

/// What the tests take for an API server posts what a real one did, member for member in the same order. The files have `&`, `<` and
/// `>` as themselves.
#[test]
fn the_simulated_api_server_writes_the_recorded_log() {
    let log = String::from_utf8(file("audit.log")).expect("UTF-8");
    let mut lines = log.lines();
    for batch in batches() {
        let batch = String::from_utf8(batch).expect("UTF-8");
        let count = serde_json::from_str::<Value>(&batch).expect("JSON")["items"].as_array().expect("a list").len();
        let written = event_list(lines.by_ref().take(count));
        let written = written.replace("\\u0026", "&").replace("\\u003c", "<").replace("\\u003e", ">");
        assert_eq!(written, batch);
    }
    assert_eq!(lines.next(), None);
}

/// What `deploy/README.md` has an operator post first is a batch as the webhook posts it.
#[test]
fn the_operators_first_check_is_evaluated() {
    let readme = fs::read_to_string(project("deploy/README.md")).expect("it");
    let batch = readme.lines().find(|line| line.starts_with("{\"kind\":\"EventList\"")).expect("a batch");
    let item = serde_json::from_str::<Value>(batch).expect("JSON")["items"][0].to_string();
    assert_eq!(event_list([&*item]).trim_end(), batch);
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    let answer = service.post(format!("{batch}\n"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    let said = r#""records":1,"evaluated":1,"ignored":0"#;
    assert!(answer.text.contains(said) && readme.contains(said), "{}", answer.text);
    let metrics = service.ask(crate::support::service::EYES, "GET", "/metrics", b"").text;
    let figure =
        |line: &str| line.starts_with("portcullis_records_total") && line.ends_with("outcome=\"evaluated\"} 1");
    assert!(metrics.lines().any(figure), "{metrics}");
    let alerts = lines_of(&data(&folder, "alerts.ndjson"));
    assert_eq!(alerts.iter().map(|alert| &alert["rule_id"]).collect::<Vec<_>>(), [NODEPORT]);
    assert_eq!(service.end().0, Some(0));
}
