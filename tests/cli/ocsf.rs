//! Alerts as OCSF Detection Findings: held against the checked-in description of the class.

use std::fs;

use serde_json::{Value, json};

use crate::support::{json_lines, project, run, run_with_input};

/// The class and its objects: `fixtures/ocsf/detection_finding.json`.
struct Schema(Value);

impl Schema {
    fn read() -> Self {
        let text = fs::read_to_string(project("fixtures/ocsf/detection_finding.json")).expect("the description");
        Self(serde_json::from_str(&text).expect("JSON"))
    }

    /// What is wrong with a finding.
    fn errors(&self, finding: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        self.check_object("finding", &self.0["class"], finding, &mut errors);
        let type_uid =
            finding["class_uid"].as_u64().zip(finding["activity_id"].as_u64()).map(|(class, id)| class * 100 + id);
        if finding["type_uid"].as_u64() != type_uid {
            errors.push("finding.type_uid is not class_uid * 100 + activity_id".to_owned());
        }
        for observable in finding["observables"].as_array().into_iter().flatten() {
            let name = observable["name"].as_str().expect("a name");
            if !values_at(finding, name).contains(&&observable["value"]) {
                errors.push(format!("observable {name} is not {}", observable["value"]));
            }
        }
        errors
    }

    fn check_object(&self, path: &str, schema: &Value, object: &Value, errors: &mut Vec<String>) {
        let Some(members) = object.as_object() else { return errors.push(format!("{path} is no object")) };
        let attributes = schema["attributes"].as_object().expect("attributes");
        for (name, attribute) in attributes {
            match members.get(name) {
                None if attribute["requirement"] == "required" => errors.push(format!("{path}.{name} is missing")),
                None => {}
                Some(value) => self.check_attribute(&format!("{path}.{name}"), attribute, value, object, errors),
            }
        }
        for name in members.keys().filter(|name| !attributes.contains_key(*name)) {
            errors.push(format!("{path}.{name} is unknown"));
        }
        if let Some(names) = schema["at_least_one"].as_array()
            && !names.iter().any(|name| members.contains_key(name.as_str().expect("a name")))
        {
            errors.push(format!("{path} has none of {names:?}"));
        }
    }

    fn check_attribute(&self, path: &str, attribute: &Value, value: &Value, around: &Value, errors: &mut Vec<String>) {
        let items = if attribute["list"] == true {
            let Some(items) = value.as_array() else { return errors.push(format!("{path} is no list")) };
            items.iter().collect()
        } else {
            vec![value]
        };
        for item in items {
            let right = match attribute["type"].as_str().expect("a type") {
                "any" => true,
                "string" => item.is_string(),
                "integer" => item.is_i64(),
                "boolean" => item.is_boolean(),
                "number" => item.is_f64(),
                name => {
                    let schema = &self.0["objects"][name];
                    assert!(schema.is_object(), "{path}: {name} is not described");
                    self.check_object(path, schema, item, errors);
                    true
                }
            };
            if !right {
                errors.push(format!("{path} is no {}: {item}", attribute["type"]));
            }
            let Some(known) = attribute["enum"].as_object() else { continue };
            let key = item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            match (known.get(&key), attribute["caption"].as_str().and_then(|name| around.get(name))) {
                (None, _) => errors.push(format!("{path} is {item}, which is none of its values")),
                (Some(caption), Some(found)) if caption != found => errors.push(format!("{path} {item} is {found}")),
                _ => {}
            }
        }
    }
}

/// What stands in a finding at a path of members, through lists.
fn values_at<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    path.split('.').fold(vec![value], |values, name| {
        let items = values.into_iter().filter_map(|value| value.get(name));
        items.flat_map(|value| value.as_array().map_or_else(|| vec![value], |items| items.iter().collect())).collect()
    })
}

fn findings(args: &[&str]) -> Vec<Value> {
    let samples = ["eks", "aks", "gke"].map(|cloud| project("fixtures/samples").join(cloud).with_extension("ndjson"));
    let samples = samples.iter().map(|sample| sample.to_str().expect("UTF-8"));
    let ended = run(["run", "--format", "ocsf"].into_iter().chain(args.iter().copied()).chain(samples));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    json_lines(&ended.stdout)
}

#[test]
fn each_alert_is_a_finding_of_the_class() {
    let schema = Schema::read();
    for args in [&[][..], &["--incidents"]] {
        let findings = findings(args);
        assert!(findings.len() > 10);
        for finding in findings {
            assert_eq!(schema.errors(&finding), Vec::<String>::new(), "{finding:#}");
        }
    }
}

#[test]
fn each_record_of_the_parity_corpus_that_alerts_is_a_finding_of_the_class() {
    let schema = Schema::read();
    let corpus = project("fixtures/parity/events.ndjson");
    let ended = run(["run", "--format", "ocsf", corpus.to_str().expect("UTF-8")]);
    let findings = json_lines(&ended.stdout);
    assert!(findings.len() > 500);
    for finding in findings {
        assert_eq!(schema.errors(&finding), Vec::<String>::new(), "{finding:#}");
    }
}

/// The test of the test: what is wrong is seen.
#[test]
fn an_invalid_finding_is_reported() {
    let schema = Schema::read();
    let right = findings(&[]).swap_remove(0);
    for (pointer, wrong, error) in [
        ("/severity_id", json!(7), "finding.severity_id is 7, which is none of its values"),
        ("/severity", json!("Bad"), "finding.severity_id 4 is \"Bad\""),
        ("/time", json!("now"), "finding.time is no \"integer\": \"now\""),
        ("/activity_id", json!(2), "finding.type_uid is not class_uid * 100 + activity_id"),
        (
            "/finding_info/analytic",
            json!({"type_id": 1}),
            "finding.finding_info.analytic has none of [String(\"name\"), String(\"uid\")]",
        ),
        ("/metadata/product", json!({"name": "a", "maker": "b"}), "finding.metadata.product.maker is unknown"),
        ("/metadata", json!({"version": "1.5.0"}), "finding.metadata.product is missing"),
        ("/observables/0/value", json!("nobody"), "observable evidences.actor.user.name is not \"nobody\""),
    ] {
        let mut finding = right.clone();
        *finding.pointer_mut(pointer).expect(pointer) = wrong;
        assert!(schema.errors(&finding).iter().any(|found| found == error), "{:?}", schema.errors(&finding));
    }
}

/// The whole of one, for each rule.
#[test]
fn the_findings_of_the_embedded_rules() {
    let findings = findings(&[]);
    for rule in [crate::support::NODEPORT, crate::support::SYSTEM_PRINCIPAL] {
        let own = findings.iter().find(|finding| finding["finding_info"]["analytic"]["uid"] == rule).expect(rule);
        let mut own = own.clone();
        own["metadata"]["product"]["version"] = "(ours)".into();
        insta::assert_snapshot!(rule, serde_json::to_string_pretty(&own).expect("JSON"));
    }
}

#[test]
fn a_finding_names_the_impersonated_user() {
    let record = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "verb": "get", "sourceIPs": ["1.2.3.4"],
        "user": {"username": "system:serviceaccount:a:b"},
        "impersonatedUser": {"username": "mira", "groups": ["system:masters"]},
    });
    let ended = run_with_input(["run", "--format", "ocsf"], record.to_string().as_bytes());
    let [finding] = &json_lines(&ended.stdout)[..] else { panic!("{}", ended.stdout) };
    assert_eq!(Schema::read().errors(finding), Vec::<String>::new(), "{finding:#}");
    let evidence = &finding["evidences"][0];
    assert_eq!(evidence["actor"]["user"]["name"], "system:serviceaccount:a:b");
    assert_eq!(evidence["user"], json!({"name": "mira"}));
    assert_eq!(evidence["data"]["impersonatedGroups"], json!(["system:masters"]));
    let observable = json!({"name": "evidences.user.name", "type_id": 4, "type": "User Name", "value": "mira"});
    assert!(finding["observables"].as_array().is_some_and(|observables| observables.contains(&observable)));
}

#[test]
fn a_closed_incident_updates_the_finding() {
    let record = |seconds: u32| {
        json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "verb": "get",
            "requestReceivedTimestamp": format!("2020-11-18T10:00:{seconds:02}Z"),
            "user": {"username": "system:serviceaccount:a:b"}, "sourceIPs": ["1.2.3.4"],
        })
    };
    let input = format!("{}\n{}\n", record(0), record(30));
    let ended = run_with_input(["run", "--incidents", "--format", "ocsf"], input.as_bytes());
    let findings = json_lines(&ended.stdout);
    assert_eq!(findings.len(), 2);
    for finding in &findings {
        assert_eq!(Schema::read().errors(finding), Vec::<String>::new(), "{finding:#}");
    }
    assert_eq!(findings[0]["finding_info"]["uid"], findings[1]["finding_info"]["uid"]);
    let [created, updated] = [&findings[0], &findings[1]].map(|finding| finding["activity_id"].as_u64());
    assert_eq!((created, updated), (Some(1), Some(2)));
    let start = 1_605_693_600_000_u64;
    let times = ["count", "start_time", "end_time"].map(|name| findings[1][name].as_u64());
    assert_eq!(times, [Some(2), Some(start), Some(start + 30_000)]);
}
