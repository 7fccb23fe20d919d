//! Who may do what, what a tenant sees of another, and what a hangup changes.

use std::fs;

use serde_json::{Value, json};

use crate::support::sample;
use crate::support::service::{
    API, Answer, EYES, Service, TWO_TENANTS, agent, ask, config, data, lines_of, service_folder, wait_until,
};

const RELOADED: &str = "reloaded clients and certificates";
const NOT_RELOADED: &str = "clients and certificates are unchanged";

/// Asks with this value of the header `Authorization`.
fn ask_with(service: &Service, authorization: Option<&str>, method: &str, path: &str) -> Answer {
    let header = authorization.map(|value| ("Authorization", value));
    let record = record("acme", "web");
    ask(&agent(), method, &service.url(path), header.as_slice(), record.as_bytes()).expect("it answers")
}

/// A record of a NodePort service, which says whose it is.
fn record(label: &str, name: &str) -> String {
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "verb": "create", "user": {"username": "ada"},
        "requestReceivedTimestamp": "2020-01-01T00:00:00Z", "auditID": name,
        "objectRef": {"resource": "services", "namespace": "prod", "name": name},
        "requestObject": {"spec": {"type": "NodePort"}}, "p_source_label": label,
    })
    .to_string()
}

#[test]
fn only_known_clients_with_the_role_are_served() {
    let folder = service_folder(&config(""));
    let service = Service::try_start(folder.path(), &[], "debug").expect("it serves");
    let (api, eyes) = (format!("Bearer {API}"), format!("Bearer {EYES}"));
    let wrong = "a-token-that-nobody-has";
    let (unknown, basic, longer) = (format!("Bearer {wrong}"), format!("Basic {API}"), format!("Bearer {API}1"));
    let mut texts = Vec::new();
    let asked = [("POST", "/v1/records"), ("GET", "/v1/live"), ("GET", "/v1/rules"), ("GET", "/metrics")];
    for (method, path) in asked {
        let unknown = [None, Some(""), Some("Bearer"), Some("Bearer "), Some(&*unknown), Some(&*basic), Some(&*longer)];
        for authorization in unknown {
            let answer = ask_with(&service, authorization, method, path);
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path}");
            texts.push(answer.text);
        }
        let without_role = if method == "POST" { &eyes } else { &api };
        let answer = ask_with(&service, Some(without_role), method, path);
        assert_eq!((answer.status, answer.header("www-authenticate")), (403, None), "{path}");
        texts.push(answer.text);
    }
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(ask_with(&service, None, "GET", path).status, 200, "{path}");
    }
    // The scheme's name is the same in any case.
    assert_eq!(ask_with(&service, Some(&format!("bearer {API}")), "POST", "/v1/records").status, 200);
    texts.extend(["/metrics", "/v1/rules"].map(|path| service.get(path).text));
    texts.extend(service.live(EYES, |kind, _| kind == "rules").into_iter().map(|(_, data)| data.to_string()));
    let (_, log, stdout) = service.end();
    let refused = log.iter().filter(|line| line["message"] == "batch refused").count();
    assert_eq!(refused, 8, "it logs what it refuses");
    texts.extend(log.iter().map(ToString::to_string).chain([stdout]));
    for name in ["ledger.ndjson", "alerts.ndjson", "dead-letters.ndjson", "history.ndjson"] {
        texts.push(fs::read_to_string(data(&folder, name)).expect(name));
    }
    for token in [API, EYES, wrong] {
        let told = texts.iter().find(|text| text.contains(token));
        assert!(told.is_none(), "{told:?} has the token {token}");
    }
}

/// A service of two tenants, each with a client that brings records and one that looks.
fn two_tenants() -> (tempfile::TempDir, Service) {
    let mut more = String::new();
    for (tenant, role) in [("acme", "ingest"), ("acme", "view"), ("globex", "ingest"), ("globex", "view")] {
        let name = format!("{tenant}-{role}");
        more += &format!("[[serve.clients]]\nname = \"{name}\"\ntenant = \"{tenant}\"\n");
        more += &format!("roles = [\"{role}\"]\ntoken-file = \"{name}\"\n");
    }
    let folder = service_folder(&config(&(more + TWO_TENANTS)));
    for name in ["acme-ingest", "acme-view", "globex-ingest", "globex-view"] {
        fs::write(folder.path().join(name), token(name)).expect("written");
    }
    let service = Service::start(folder.path(), &[]);
    (folder, service)
}

fn token(name: &str) -> String {
    format!("the-token-of-{name}")
}

#[test]
fn a_tenant_sees_nothing_of_another() {
    let (_folder, service) = two_tenants();
    for (label, name) in [("acme", "anvil"), ("globex", "gadget"), ("globex", "widget"), ("umbrella", "virus")] {
        assert_eq!(service.post(record(label, name)).status, 200);
    }
    let records = |data: &Value| data["totals"]["records"].as_u64().unwrap_or_default();
    for (tenant, count, others) in [("acme", 1, ["globex", "gadget"]), ("globex", 2, ["acme", "anvil"])] {
        let viewer = token(&format!("{tenant}-view"));
        // The second overview comes after all that was there already.
        let overviews = std::cell::Cell::new(0);
        let events = service.live(&viewer, |kind, _| {
            overviews.set(overviews.get() + usize::from(kind == "overview"));
            overviews.get() == 2
        });
        let rules = service.ask(&viewer, "GET", "/v1/rules", b"");
        assert_eq!(rules.status, 200);
        assert_eq!(rules.json()["replicas"][0]["rules"].as_array().map(Vec::len), Some(2));
        let text = format!("{events:?} {}", rules.text);
        for other in others.iter().chain(&["virus", "no tenant", "umbrella", "data/alerts"]) {
            assert!(!text.contains(other), "{tenant} sees {other}: {text}");
        }
        let alerts: Vec<_> = events.iter().filter(|(kind, _)| kind == "alert").collect();
        assert_eq!(alerts.len(), count);
        for (_, overview) in events.iter().filter(|(kind, _)| kind == "overview") {
            assert_eq!(records(overview), count as u64);
            let of_all = [&overview["sinks"], &overview["not_ready"], &overview["batches"]];
            assert_eq!(of_all, [&json!([]), &json!([]), &Value::Null]);
        }
        assert_eq!(service.ask(&viewer, "GET", "/metrics", b"").status, 403);
    }
    let all = service.live(EYES, |kind, _| kind == "overview");
    assert_eq!(records(&all[0].1), 4);
    assert_eq!(service.get("/v1/rules").json()["replicas"][0]["rules"].as_array().map(Vec::len), Some(4));
}

#[test]
fn records_belong_to_the_tenant_of_their_client() {
    let (folder, service) = two_tenants();
    let ingest = token("acme-ingest");
    for label in ["acme", "globex", "umbrella"] {
        assert_eq!(service.ask(&ingest, "POST", "/v1/records", record(label, label).as_bytes()).status, 200);
    }
    let tenants = |name: &str| -> Vec<Value> {
        lines_of(&data(&folder, name)).iter().map(|line| line["tenant"].clone()).collect()
    };
    assert_eq!((tenants("ledger.ndjson"), tenants("alerts.ndjson")), (vec![json!("acme"); 3], vec![json!("acme"); 3]));
    // Who is nobody's brings them for whoever claims them.
    assert_eq!(service.post(record("globex", "claimed")).status, 200);
    assert_eq!(tenants("ledger.ndjson")[3], "globex");
    assert_eq!(service.ask(&token("acme-view"), "POST", "/v1/records", b"{}").status, 403);
}

#[test]
fn a_hangup_reloads_tokens_and_ignores_an_invalid_config() {
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    let new = "another-token-of-the-api-server";
    let post = |token: &str| service.ask(token, "POST", "/v1/records", record("acme", "web").as_bytes()).status;
    write("api", new);
    assert_eq!((post(API), post(new)), (200, 401), "nobody has asked for it to be read");
    service.reload(RELOADED, 1);
    assert_eq!((post(API), post(new)), (401, 200));

    let right = config("");
    let wrong = [
        right.replace("[\"ingest\"]", "[\"everything\"]"),
        right.replace("token-file = \"api\"", "token-file = \"nowhere\""),
        right.replace("[serve]", "[serves]"),
        "[serve".to_owned(),
    ];
    for (n, wrong) in wrong.iter().enumerate() {
        write("config.toml", wrong);
        service.reload(NOT_RELOADED, n + 1);
        assert_eq!((post(API), post(new), service.get("/metrics").status), (401, 200, 200), "{wrong}");
    }
    write("config.toml", &right);
    write("api", "short");
    service.reload(NOT_RELOADED, 5);
    assert_eq!(post(new), 200);
    // A client that is gone, and one that has come.
    write("config.toml", &right.replace("\"api\"", "\"other\""));
    write("other", API);
    service.reload(RELOADED, 2);
    assert_eq!((post(API), post(new)), (200, 401));
    let (code, log, _) = service.end();
    assert_eq!(code, Some(0));
    let errors: Vec<&str> =
        log.iter().filter(|line| line["level"] == "ERROR").filter_map(|line| line["message"].as_str()).collect();
    let path = folder.path().display().to_string();
    insta::assert_snapshot!(errors.join("\n").replace(&path, "DIR"));
}

#[test]
fn a_moved_file_is_created_again_at_a_hangup() {
    let folder = service_folder(&config(""));
    let service = Service::start(folder.path(), &[]);
    let names = ["ledger.ndjson", "alerts.ndjson", "dead-letters.ndjson"];
    let post = |record: &str| assert_eq!(service.post(record).status, 200);
    let lines = |suffix: &str| names.map(|name| lines_of(&data(&folder, &format!("{name}{suffix}"))).len());
    let eks = fs::read_to_string(sample("eks.ndjson")).expect("the sample");
    post(&eks);
    let before = lines("");
    assert!(before.iter().all(|count| *count > 0), "{before:?}");
    for name in names {
        fs::rename(data(&folder, name), data(&folder, &format!("{name}.1"))).expect("renamed");
    }
    // As long as it is not told, it writes where it wrote.
    post(&record("acme", "first"));
    assert_eq!(lines(".1"), [before[0] + 1, before[1] + 1, before[2]]);
    service.reload(RELOADED, 1);
    wait_until("the files are there again", || names.iter().all(|name| data(&folder, name).exists()));
    post(&record("acme", "second"));
    post(&eks);
    assert_eq!(lines(".1"), [before[0] + 1, before[1] + 1, before[2]], "what was moved away stays as it is");
    assert_eq!(lines(""), [before[0] + 1, 1, before[2]], "alerts that were there are not there again");
    let first = lines_of(&data(&folder, "ledger.ndjson"))[0]["n"].as_u64();
    assert_eq!(first, Some(before[0] as u64 + 1), "numbers go on");
}
