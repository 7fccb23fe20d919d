//! What an operator has decided never to be alerted about, and a config that says it wrong.

use std::fs;

use serde_json::{Value, json};

use crate::support::{NODEPORT, Run, SYSTEM_PRINCIPAL, run, run_accounted};

/// A record of a service account that comes from these addresses.
fn used(account: &str, addresses: &[&str], time: Option<&str>) -> Value {
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "verb": "get", "requestReceivedTimestamp": time,
        "user": {"username": format!("system:serviceaccount:{account}")}, "sourceIPs": addresses,
        "objectRef": {"resource": "pods", "namespace": "shop"}, "p_source_label": "prod-1",
    })
}

/// Runs on these records with a config.
fn run_with_config(config: &str, records: &[Value]) -> Run {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("portcullis.toml");
    fs::write(&file, config).expect("written");
    let input: Vec<String> = records.iter().map(ToString::to_string).collect();
    run_accounted(input.join("\n").as_bytes(), &["--config", file.to_str().expect("UTF-8")])
}

/// What the principal rule says about each record with one exclusion of these lines.
fn verdicts(lines: &str, records: &[Value]) -> Vec<String> {
    let config = format!("[[exclusions]]\nrule = \"{SYSTEM_PRINCIPAL}\"\nreason = \"agreed\"\n{lines}\n");
    let run = run_with_config(&config, records);
    (0..records.len()).map(|n| run.verdict(n, SYSTEM_PRINCIPAL).to_owned()).collect()
}

#[test]
fn an_excluded_match_is_not_an_alert_and_is_counted_with_its_reason() {
    let config = format!(
        "[[exclusions]]\nrule = \"{SYSTEM_PRINCIPAL}\"\nusername = \"system:serviceaccount:ci:*\"\nreason = \"CI runs at the office\"\n"
    );
    let run = run_with_config(&config, &[used("ci:build", &["1.2.3.4"], None), used("shop:web", &["1.2.3.4"], None)]);
    assert_eq!(run.alerts.len(), 1);
    let entry = &run.ledger[0]["rules"][SYSTEM_PRINCIPAL];
    assert_eq!((&entry["verdict"], &entry["reason"]), (&json!("excluded"), &json!("CI runs at the office")));
    assert_eq!(run.verdict(1, SYSTEM_PRINCIPAL), "alert");
    assert!(run.ended.stderr.contains("2 events = 1 alert + 1 excluded + 0 no-match"), "{}", run.ended.stderr);
}

#[test]
fn all_fields_must_hold_and_one_of_each_fields_values() {
    let record = || used("ci:build", &["1.2.3.4"], None);
    for (lines, verdict) in [
        ("namespace = 'shop'", "excluded"),
        ("namespace = ['dev', 'shop']", "excluded"),
        ("namespace = 'dev'", "alert"),
        ("namespace = 'shop'\ncluster = 'prod-*'", "excluded"),
        ("namespace = 'shop'\ncluster = 'test-*'", "alert"),
        ("name = 'a*'", "alert"),
        ("verb = 'get'\nresource = 'pods'\nlogType = 'Amazon.EKS.Audit'", "excluded"),
        ("userAgent = 'kubectl*'", "alert"),
    ] {
        assert_eq!(verdicts(lines, &[record()]), [verdict], "{lines}");
    }
}

#[test]
fn an_exclusion_applies_only_to_its_rule() {
    let config = format!("[[exclusions]]\nrule = \"{NODEPORT}\"\nnamespace = \"shop\"\nreason = \"agreed\"\n");
    let run = run_with_config(&config, &[used("ci:build", &["1.2.3.4"], None)]);
    assert_eq!(run.verdict(0, SYSTEM_PRINCIPAL), "alert");
}

/// All but the last address are the client's to write: one excluded address must not hide the others.
#[test]
fn every_source_address_must_be_in_an_excluded_network() {
    let from = |addresses: &[&str]| used("ci:build", addresses, None);
    for (networks, addresses, verdict) in [
        ("'1.2.3.0/24'", &["1.2.3.4"][..], "excluded"),
        ("'1.2.3.4'", &["1.2.3.4:443"], "excluded"),
        ("'::ffff:1.2.3.0/120'", &["1.2.3.4"], "excluded"),
        ("['2001:200::/32', '1.2.3.0/24']", &["1.2.3.4", "2001:200::1"], "excluded"),
        ("'1.2.3.0/24'", &["1.2.4.4"], "alert"),
        ("'1.2.3.0/24'", &["1.2.3.4", "9.9.9.9"], "alert"),
        ("'1.2.3.0/24'", &["9.9.9.9", "1.2.3.4"], "alert"),
        ("'1.2.3.0/24'", &["no address", "1.2.3.4"], "excluded"),
    ] {
        assert_eq!(
            verdicts(&format!("source_ip = {networks}"), &[from(addresses)]),
            [verdict],
            "{networks} {addresses:?}"
        );
    }
}

#[test]
fn an_exclusion_ends_by_the_events_own_time() {
    let at = |time| used("ci:build", &["1.2.3.4"], time);
    let records = [
        at(Some("2026-11-17T23:59:59.999999Z")),
        at(Some("2026-11-18T00:00:00Z")),
        at(Some("2026-11-18T00:30:00+01:00")),
        at(Some("no time")),
        at(None),
    ];
    let expected = ["excluded", "alert", "excluded"];
    // Without a time it is today, which is long after the one and before the other.
    assert_eq!(verdicts("namespace = 'shop'\nexpires = 2026-11-18", &records[..3]), expected);
    assert_eq!(verdicts("namespace = 'shop'\nexpires = 2026-11-18T01:00:00+01:00", &records[..3]), expected);
    assert_eq!(verdicts("namespace = 'shop'\nexpires = 2020-01-01", &records[3..]), ["alert", "alert"]);
    assert_eq!(verdicts("namespace = 'shop'\nexpires = 9000-01-01", &records[3..]), ["excluded", "excluded"]);
}

#[test]
fn an_expired_exclusion_is_reported() {
    let config = format!(
        "[[exclusions]]\nrule = \"{SYSTEM_PRINCIPAL}\"\nnamespace = \"shop\"\nreason = \"move\"\nexpires = 2020-01-01\n"
    );
    let run = run_with_config(&config, &[used("ci:build", &["1.2.3.4"], None)]);
    let warning = format!(
        "portcullis: warning: the exclusion of {SYSTEM_PRINCIPAL} (move) expired at 2020-01-01T00:00:00Z; remove or renew it\n"
    );
    assert!(run.ended.stderr.contains(&warning), "{}", run.ended.stderr);
}

#[test]
fn explain_says_that_an_event_is_excluded() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (config, record) = (folder.path().join("portcullis.toml"), folder.path().join("record.json"));
    let exclusion =
        format!("[[exclusions]]\nrule = \"{SYSTEM_PRINCIPAL}\"\nnamespace = \"shop\"\nreason = \"agreed\"\n");
    fs::write(&config, exclusion).expect("written");
    fs::write(&record, used("ci:build", &["1.2.3.4"], None).to_string()).expect("written");
    let ended = run(["explain", record.to_str().expect("UTF-8"), "--config", config.to_str().expect("UTF-8")]);
    assert!(
        ended.stdout.contains("\n    excluded: agreed\n    [HIGH] system:serviceaccount:ci:build used"),
        "{}",
        ended.stdout
    );
}

#[test]
fn paths_in_the_config_are_relative_to_it_and_arguments_override_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::create_dir(folder.path().join("ranges")).expect("made");
    let aws = json!({"prefixes": [{"ip_prefix": "3.5.0.0/16", "region": "a", "service": "EC2"}]}).to_string();
    fs::write(path("ranges/ip-ranges.json"), &aws).expect("written");
    fs::write(path("goog.json"), aws.replace("3.5", "3.6")).expect("written");
    fs::write(path("portcullis.toml"), "[enrichment]\ncloud-ranges = ['ranges/ip-ranges.json']\n").expect("written");
    let mut record = used("a:b", &["3.5.1.1"], None);
    record["user"] = json!({"username": "system:node:n", "groups": ["system:nodes", "system:authenticated"]});
    let verdict = |more: &[&str]| {
        let config = path("portcullis.toml");
        let args = [&["--config", &config], more].concat();
        run_accounted(record.to_string().as_bytes(), &args).verdict(0, SYSTEM_PRINCIPAL).to_owned()
    };
    assert_eq!(verdict(&[]), "no-match");
    assert_eq!(verdict(&["--cloud-ranges", &path("goog.json")]), "alert");
}

#[test]
fn a_config_error_names_file_line_key_and_the_valid_values() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("portcullis.toml");
    let rule = format!("rule = \"{SYSTEM_PRINCIPAL}\"\nreason = \"agreed\"\n");
    let mut text = String::new();
    for config in [
        "[enrichment\n".to_owned(),
        "[tenant]\n".to_owned(),
        "\n[enrichment]\nasndb = \"a\"\n".to_owned(),
        "[enrichment]\nasn-db = 5\n".to_owned(),
        "[enrichment]\ncloud-ranges = \"a\"\n".to_owned(),
        "[enrichment]\nasn-db = \"none.mmdb\"\n".to_owned(),
        "[enrichment]\n\ncloud-ranges = [\"portcullis.toml\"]\n".to_owned(),
        "exclusions = 5\n".to_owned(),
        "[[exclusions]]\nrule = \"a\"\n".to_owned(),
        format!("[[exclusions]]\n{rule}usrname = \"a\"\n"),
        format!("[[exclusions]]\n{rule}username = 5\n"),
        format!("[[exclusions]]\n{rule}username = []\n"),
        format!("[[exclusions]]\n{rule}username = [\n\"a=b\",\n5,\n]\n"),
        format!("[exclusions]\n{rule}"),
        format!("[[exclusions]]\n{rule}username = \"*\"\n"),
        format!("[[exclusions]]\n{rule}username = \"a*b\"\n"),
        format!("[[exclusions]]\n{rule}logType = [\"GCP.*\", \"Azure\"]\n"),
        format!("[[exclusions]]\n{rule}namespace = [\"a\", \"\"]\n"),
        format!("[[exclusions]]\n{rule}source_ip = [\"1.2.3.0/24\",\n\"1.2.3.0/33\"]\n"),
        format!("[[exclusions]]\n{rule}source_ip = []\n"),
        format!("[[exclusions]]\n{rule}username = \"a\"\nexpires = \"tomorrow\"\n"),
        format!("[[exclusions]]\n{rule}username = \"a\"\nexpires = 2027-01-31T10:00:00\n"),
        format!("[[exclusions]]\n{rule}"),
        "[[exclusions]]\nreason = \" \"\nrule = \"Kubernetes.Service.NodePort.Deployed\"\nname = \"a\"\n".to_owned(),
        "[[exclusions]]\nreason = \"a\"\nname = \"a\"\nrule = \"Kubernetes.Other\"\n".to_owned(),
    ] {
        fs::write(&file, config).expect("written");
        let ended = run(["run", "--config", file.to_str().expect("UTF-8")]);
        assert_eq!((ended.code, &*ended.stdout), (Some(3), ""), "{}", ended.stderr);
        text += &ended.stderr.replace(folder.path().to_str().expect("UTF-8"), "");
    }
    let ended = run(["run", "--config", folder.path().join("none").to_str().expect("UTF-8")]);
    assert_eq!(ended.code, Some(3));
    text += &ended.stderr.replace(folder.path().to_str().expect("UTF-8"), "");
    insta::assert_snapshot!(text);
}
