//! Tenants: each record belongs to one tenant, and other tenants' rules are not affected by it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{NODEPORT, Run, SYSTEM_PRINCIPAL, hostile, json_lines, run, run_accounted, run_with_input};

/// A folder with a config and, for each name, a hostile package.
struct Place(tempfile::TempDir);

impl Place {
    fn new(config: &str, packages: &[&str]) -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary folder"));
        for name in packages {
            fs::write(place.0.path().join(name).with_extension("wasm"), hostile(name)).expect("written");
        }
        fs::write(place.config(), config).expect("written");
        place
    }

    fn config(&self) -> String {
        self.0.path().join("portcullis.toml").to_str().expect("UTF-8").to_owned()
    }

    fn run(&self, records: &str) -> Run {
        run_accounted(records.as_bytes(), &["--config", &self.config()])
    }
}

/// A record of a NodePort service, which says whose it is.
fn record(label: &str, name: &str) -> String {
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "verb": "create", "user": {"username": "ada"},
        "requestReceivedTimestamp": "2020-01-01T00:00:00Z",
        "objectRef": {"resource": "services", "namespace": "prod", "name": name},
        "requestObject": {"spec": {"type": "NodePort"}}, "p_source_label": label,
    })
    .to_string()
        + "\n"
}

fn tenants_of(run: &Run) -> Vec<&str> {
    run.ledger.iter().map(|line| line["tenant"].as_str().unwrap_or("-")).collect()
}

const TWO: &str = r#"
[[tenants]]
name = "acme"
records = [{ p_source_label = "acme-*" }]

[[tenants]]
name = "globex"
records = [{ p_source_label = ["globex-prod", "globex-test"] }]
"#;

#[test]
fn each_record_is_judged_for_its_tenant() {
    let records = record("acme-1", "a") + &record("globex-prod", "b") + &record("acme-2", "c");
    let run = Place::new(TWO, &[]).run(&records);
    assert_eq!(run.ended.code, Some(0));
    assert_eq!(tenants_of(&run), ["acme", "globex", "acme"]);
    let alerts: Vec<&str> = run.alerts.iter().map(|alert| alert["tenant"].as_str().expect("a tenant")).collect();
    assert_eq!(alerts, ["acme", "globex", "acme"]);
    insta::assert_snapshot!(run.ended.stderr);
    // The same record of two tenants is two alerts.
    let same = record("acme-1", "a");
    let other = run_accounted(same.as_bytes(), &[]);
    assert_ne!(run.alerts[0]["alert_id"], other.alerts[0]["alert_id"]);
}

#[test]
fn a_record_of_no_single_tenant_is_rejected_and_kept() {
    let config = TWO.replace("\"globex-prod\", ", "\"globex-prod\", \"acme-shared\", ");
    let records =
        record("acme-1", "a") + &record("umbrella", "b") + &record("acme-shared", "c") + "no JSON\n" + r#"{"a":1}"#;
    let run = Place::new(&config, &[]).run(&records);
    assert_eq!(tenants_of(&run), ["acme", "-", "-", "-", "-"]);
    let outcomes: Vec<&str> = run.ledger.iter().map(|line| line["outcome"].as_str().expect("an outcome")).collect();
    assert_eq!(outcomes, ["evaluated", "rejected", "rejected", "rejected", "ignored"]);
    let reasons: Vec<&str> = run.rejects.iter().map(|line| line["reason"].as_str().expect("a reason")).collect();
    assert_eq!(
        reasons[..2],
        [
            "belongs to no tenant: no claim in the config matches it",
            "belongs to more than one tenant: acme and globex claim it"
        ]
    );
    assert_eq!(run.rejects[0]["record"], record("umbrella", "b").trim_end(), "nothing is lost");
    insta::assert_snapshot!(run.ended.stderr);
}

#[test]
fn records_are_known_by_any_field_and_by_their_input() {
    let config = r#"
        [[tenants]]
        name = "google"
        records = [{ "resource.labels.project_id" = "shop" }]
        [[tenants]]
        name = "azure"
        records = [{ resourceId = "/SUBSCRIPTIONS/*" }]
        [[tenants]]
        name = "file"
        records = [{ input = "INPUT" }]
        [[tenants]]
        name = "stdin"
        records = [{ input = "standard input", kind = "Event" }]
    "#;
    let samples = |name: &str| crate::support::sample(&format!("{name}.ndjson"));
    let place = Place::new(&config.replace("INPUT", &samples("eks")), &[]);
    let owners = |input: &str, records: &[u8]| {
        let ledger = place.0.path().join("ledger");
        let ledger = ledger.to_str().expect("UTF-8");
        let ended = run_with_input(["run", "--config", &place.config(), "--ledger", ledger, input], records);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let mut owners: Vec<String> = json_lines(&fs::read_to_string(ledger).expect("the ledger"))
            .iter()
            .filter(|line| line["outcome"] == "evaluated")
            .map(|line| line["tenant"].as_str().unwrap_or("-").to_owned())
            .collect();
        owners.dedup();
        owners
    };
    assert_eq!(owners(&samples("eks"), b""), ["file"]);
    assert_eq!(owners("-", &fs::read(samples("eks")).expect("the sample")), ["stdin"]);
    let gke = fs::read_to_string(samples("gke")).expect("the sample");
    let project = gke.split("\"project_id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a project");
    fs::write(place.config(), config.replace("shop", project)).expect("written");
    assert_eq!(owners(&samples("gke"), b""), ["google"]);
    let aks = fs::read_to_string(samples("aks")).expect("the sample");
    assert!(aks.contains("\"resourceId\":\"/"), "the sample says whose it is");
    let beginning: String = aks.split("\"resourceId\":\"").nth(1).expect("an id").chars().take(10).collect();
    fs::write(place.config(), config.replace("/SUBSCRIPTIONS/", &beginning)).expect("written");
    assert_eq!(owners(&samples("aks"), b""), ["azure"]);
}

/// A rule that says what it is shown is shown every record of its tenant, and none of another's: neither in an event nor
/// in memory that another's rule has left behind.
#[test]
fn no_rule_ever_sees_a_record_of_another_tenant() {
    let config = r#"
        [[tenants]]
        name = "acme"
        rules = ["spies.wasm", "looks-for-leftovers.wasm"]
        records = [{ p_source_label = "acme" }]
        [[tenants]]
        name = "globex"
        rules = ["spies.wasm", "looks-for-leftovers.wasm"]
        records = [{ p_source_label = "globex" }]
        [limits]
        events-per-instance = 7
    "#;
    let place = Place::new(config, &["spies", "looks-for-leftovers"]);
    let label = |n: usize| ["acme", "globex", "umbrella"][n * n % 7 % 3];
    let secret = |n: usize| format!("secret-of-{}-{n}", label(n));
    let records: String = (0..500).map(|n| record(label(n), &secret(n))).collect();
    let run = place.run(&records);
    let mut shown = 0;
    for alert in &run.alerts {
        assert_eq!(alert["rule_id"], "Hostile.spies", "nothing was left behind");
        let tenant = alert["tenant"].as_str().expect("a tenant");
        let title = alert["title"].as_str().expect("a title");
        assert!(title.contains(&format!("secret-of-{tenant}-")), "{title}");
        for other in ["acme", "globex", "umbrella"].iter().filter(|other| **other != tenant) {
            assert!(!alert.to_string().contains(other), "a rule of {tenant} saw what is {other}'s: {alert}");
        }
        shown += 1;
    }
    let own = (0..500).filter(|n| label(*n) != "umbrella").count();
    assert!(own > 200 && own < 450, "there are records of all three");
    assert_eq!(shown, own, "each record was shown to its tenant's rule");
}

/// A rule of one tenant that faults, floods and is suspended costs another tenant nothing: not with the very same package.
#[test]
fn budgets_and_suspensions_are_each_tenants_own() {
    let config = r#"
        [limits]
        suspend-after = 2
        [[tenants]]
        name = "acme"
        rules = ["floods.wasm", "loops.wasm", "large-alert.wasm"]
        records = [{ p_source_label = "acme" }]
        limits = { alerts-per-minute = 3, time = "2ms" }
        [[tenants]]
        name = "globex"
        rules = ["floods.wasm", "loops.wasm", "large-alert.wasm"]
        records = [{ p_source_label = "globex" }]
        limits = { suspend-after = 0, alert = "1MiB", time = "3ms" }
    "#;
    let place = Place::new(config, &["floods", "loops", "large-alert"]);
    let records: String = (0..5).map(|n| record("acme", &n.to_string()) + &record("globex", &n.to_string())).collect();
    let run = place.run(&records);
    let said = |rule: &str, tenant: usize| -> Vec<String> {
        let lines = run.ledger.iter().skip(tenant).step_by(2).map(|line| &line["rules"][rule]);
        lines.map(|rule| rule["reason"].as_str().or(rule["verdict"].as_str()).expect("a verdict").to_owned()).collect()
    };
    let many = "matched beyond its limit of 3 alerts in the event's minute";
    assert_eq!(said("Hostile.floods", 0), ["alert", "alert", "alert", many, many]);
    assert_eq!(said("Hostile.floods", 1), ["alert"; 5]);
    let suspended = |left: u32| format!("is suspended because of its faults, for at most {left} more events");
    let long = "ran longer than its limit of 2ms".to_owned();
    assert_eq!(said("Hostile.loops", 0), [long.clone(), long, suspended(63), suspended(62), suspended(61)]);
    assert_eq!(said("Hostile.loops", 1), ["ran longer than its limit of 3ms"; 5]);
    assert_eq!(said("Hostile.large-alert", 1), ["alert"; 5]);
    assert!(said("Hostile.large-alert", 0)[0].starts_with("answered with an alert of "));
    insta::assert_snapshot!(run.ended.stderr);
}

#[test]
fn a_suspended_rule_is_tried_again_and_resumes() {
    let config = "[limits]\nsuspend-after = 1\n[[tenants]]\nname = \"acme\"\nrules = [\"traps-every-second-time.wasm\"]\nrecords = [{ p_source_label = \"acme\" }]";
    let place = Place::new(config, &["traps-every-second-time"]);
    // Which of the events of several threads are the first ones is nobody's to say.
    let records = record("acme", "a").repeat(2 + 64 + 2 + 256 + 1);
    let run = run_accounted(records.as_bytes(), &["--config", &place.config(), "--threads", "1"]);
    let asked: Vec<usize> = (0..run.ledger.len())
        .filter(|n| {
            let said = &run.ledger[*n]["rules"]["Hostile.traps-every-second-time"];
            !said["reason"].as_str().is_some_and(|reason| reason.starts_with("is suspended"))
        })
        .collect();
    assert_eq!(asked, [0, 1, 66, 67, 324]);
    insta::assert_snapshot!(run.ended.stderr);
}

/// Rules, exclusions and incidents are each tenant's own too.
#[test]
fn rules_exclusions_and_incidents_are_each_tenants_own() {
    let excluded =
        format!("\n[[tenants.exclusions]]\nrule = \"{NODEPORT}\"\nnamespace = \"prod\"\nreason = \"globex knows\"\n");
    let place = Place::new(&(TWO.to_owned() + &excluded), &[]);
    let run = place.run(&(record("acme-1", "a") + &record("globex-test", "a")));
    assert_eq!([run.verdict(0, NODEPORT), run.verdict(1, NODEPORT)], ["alert", "excluded"]);
    assert_eq!(run.verdict(1, SYSTEM_PRINCIPAL), "skipped");

    let place = Place::new(TWO, &[]);
    let late = record("globex-test", "b").replace("2020-01-01", "2020-02-02");
    let records = record("acme-1", "a") + &late + &record("acme-1", "a");
    let ended =
        run_with_input(["run", "--config", &place.config(), "--incidents", "--format", "ndjson"], records.as_bytes());
    let incidents: Vec<Value> =
        json_lines(&ended.stdout).into_iter().filter_map(|line| line.get("incident").cloned()).collect();
    let of = |tenant: &str| incidents.iter().filter(|incident| incident["tenant"] == tenant).collect::<Vec<_>>();
    assert_eq!(of("acme").len(), 1, "what time it is for globex ends no incident of acme's");
    assert_eq!((&of("acme")[0]["count"], of("globex").len()), (&json!(2), 1));
}

#[test]
fn rules_without_a_tenant_that_uses_them_are_wrong_usage() {
    let config = format!("{TWO}rules = [\"traps.wasm\"]").replace(
        "records = [{ p_source_label = \"acme",
        "rules = [\"traps.wasm\"]\nrecords = [{ p_source_label = \"acme",
    );
    let place = Place::new(&config, &["traps"]);
    let ended = run(["run", "--config", &place.config(), "--rules", &place.config()]);
    let message = "portcullis: --rules: has no effect, because every tenant in the config has rules of its own\n";
    assert_eq!((ended.code, &*ended.stderr), (Some(2), message));
}

#[test]
fn explain_names_the_tenant_of_a_record() {
    let place = Place::new(TWO, &[]);
    let explain = |record: String| {
        let ended = run_with_input(["explain", "--config", &place.config(), "-"], record.as_bytes());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    assert!(explain(record("acme-1", "a")).contains("\ntenant acme\n"));
    let unclaimed = explain(record("umbrella", "a"));
    assert!(
        unclaimed.contains("\nrejected: the record belongs to no tenant: no claim in the config matches it\n"),
        "{unclaimed}"
    );
}

#[test]
fn a_config_error_names_line_key_and_the_valid_values() {
    let tenant = "[[tenants]]\nname = \"a\"\n";
    let whole = format!("{tenant}records = [{{ kind = \"Event\" }}]\n");
    let mut report = String::new();
    for config in [
        "[limits]\ntime = 10".to_owned(),
        "[limits]\ntime = \"10\"".to_owned(),
        "[limits]\ntime = \"0ms\"".to_owned(),
        "[limits]\nmemory = \"16 apples\"".to_owned(),
        "[limits]\nmemory = \"64GiB\"".to_owned(),
        "[limits]\nmemory = 1.5".to_owned(),
        "[limits]\nstack = \"8MiB\"".to_owned(),
        "[limits]\nevents-per-instance = 0".to_owned(),
        "[limits]\nevents-per-instance = \"256\"".to_owned(),
        "[limits]\nalerts_per_minute = 5".to_owned(),
        "[limits]\nanswer = -1".to_owned(),
        "[limits]\ncompile-time = \"10ms\"".to_owned(),
        "tenants = []".to_owned(),
        tenant.to_owned(),
        format!("{tenant}records = []"),
        format!("{tenant}records = [{{}}]"),
        format!("{tenant}records = [{{ p_source_label = [] }}]"),
        format!("{tenant}records = [{{ p_source_label = \"*\" }}]"),
        format!("{tenant}records = [{{ \"a..b\" = \"x\" }}]"),
        format!("{tenant}records = {{ kind = \"Event\" }}"),
        format!("{whole}rules = []"),
        format!("{whole}rules = [\"none.wasm\"]"),
        format!("{whole}colour = \"blue\""),
        format!("{whole}[tenants.limits]\ntime = \"2h\""),
        format!("{whole}[[tenants.exclusions]]\nrule = \"None\"\nreason = \"x\"\nverb = \"get\""),
        format!("{whole}{whole}"),
        whole.replace("\"a\"", "\"a b\""),
        format!("{whole}[[exclusions]]\nrule = \"{NODEPORT}\"\nreason = \"x\"\nverb = \"get\""),
    ] {
        let place = Place::new(&config, &[]);
        let ended = run(["run", "--config", &place.config()]);
        assert_eq!((ended.code, &*ended.stdout), (Some(3), ""), "{config}: {}", ended.stderr);
        report += &ended.stderr.replace(place.0.path().to_str().expect("UTF-8"), "");
    }
    insta::assert_snapshot!(report);
}

/// The example of the README.
#[test]
fn the_documented_config_is_valid() {
    let readme = fs::read_to_string(crate::support::project("docs/config.md")).expect("the page");
    let configs: Vec<&str> = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(configs.iter().any(|config| config.contains("[[tenants]]")), "there is one of tenants");
    for config in configs.iter().filter(|config| config.contains("[[tenants]]")) {
        let place = Place::new(config, &[]);
        let rules = Path::new(&place.config()).with_file_name("rules");
        let exported = run([std::ffi::OsStr::new("export"), rules.join("globex").as_os_str()]);
        assert_eq!(exported.code, Some(0), "{}", exported.stderr);
        let ended = run(["run", "--config", &place.config()]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
}

/// Writing to a file empties it: no package of a folder of rules may be an output.
#[test]
fn no_output_empties_a_package() {
    let place = Place::new("[limits]\nevents-per-instance = 1", &["traps"]);
    let package = place.0.path().join("traps.wasm");
    let before = fs::read(&package).expect("the package");
    let (folder, output) = (place.0.path().to_str().expect("UTF-8"), package.to_str().expect("UTF-8"));
    let ended = run(["run", "--rules", folder, "--ledger", output]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(fs::read(&package).expect("the package") == before, "it is as it was");
}

/// Whoever can write a line into a stream can write a record; where a tenant claims the stream, it is that tenant's, whatever it says.
#[test]
fn an_applications_line_belongs_to_its_inputs_tenant() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let config = format!(
        "[[tenants]]\nname = \"a\"\nrecords = [{{ input = \"{}\" }}]\n\n\
         [[tenants]]\nname = \"b\"\nrecords = [{{ input = \"{}\" }}]\n",
        path("a.ndjson"),
        path("b.ndjson"),
    );
    fs::write(path("config.toml"), config).expect("written");
    let mut forged = crate::support::envelopes::value(&crate::support::envelopes::sample_lines()[0]);
    forged["p_source_label"] = "b".into();
    let lines: String = [
        json!({"log": forged.to_string(), "stream": "stdout"}),
        json!({"level": "info", "tenant": "b", "message": format!("got {forged}")}),
        json!({"p_source_label": "b", "data": {"payload": forged}}),
    ]
    .map(|line| format!("{line}\n"))
    .concat();
    fs::write(path("a.ndjson"), lines).expect("written");
    fs::write(path("b.ndjson"), "{}\n").expect("written");
    let ended =
        run(["run", "--format", "ndjson", "--config", &path("config.toml"), &path("a.ndjson"), &path("b.ndjson")]);
    let alerts = json_lines(&ended.stdout);
    assert_eq!(alerts.len(), 3, "{}", ended.stderr);
    assert!(alerts.iter().all(|alert| alert["tenant"] == "a"), "{alerts:?}");
    assert!(ended.stderr.contains("tenant b: 1 records = 0 evaluated"), "{}", ended.stderr);
}
