//! The limits are for rules, not for events: whatever a client writes, the two real rules stay within theirs.

use std::sync::Arc;

use portcullis::pipeline::RuleVerdict;
use portcullis::{Engine, Judge, Judgement, Limits, RuleSet, Verdict, embedded};

/// A record that the NodePort rule matches.
const RECORD: &[u8] = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create","user":{"username":"ada"},
    "objectRef":{"resource":"services"},"requestObject":{"spec":{"type":"NodePort"}}}"#;

/// The two rules, alone.
fn judge() -> Judge {
    let engine = Engine::new().expect("an engine");
    let packages = embedded::packages(&engine).expect("the embedded rules");
    Judge::new(Arc::new(RuleSet::new(packages).expect("two rules")), Limits::default())
}

/// A wrong embedder must hear what is wrong: the trap's backtrace names it.
#[test]
fn invalid_events_cause_a_trap_with_the_reason() {
    let engine = Engine::new().expect("an engine");
    for package in embedded::packages(&engine).expect("the embedded rules") {
        let mut sandbox = portcullis::sandbox::Sandbox::new(package, Limits::default());
        for text in ["", "{}", "not JSON", std::str::from_utf8(RECORD).expect("UTF-8")] {
            let fault = sandbox.evaluate(text).expect_err("no event");
            assert!(fault.to_string().contains("input_is_not_a_normalized_event"), "{fault}");
        }
        let answer = sandbox.evaluate(r#"{"logType":"Amazon.EKS.Audit","sourceScope":"none"}"#);
        assert!(answer.expect("an event").is_none());
    }
}

/// `requestObject` may have any shape that JSON's grammar lets pass; ports that no reader takes still alert.
#[test]
fn ports_that_cannot_be_read_still_alert() {
    let mut judge = judge();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for ports in [&*deep, r#"[{"name":"\ud800"}]"#, r#"[{"port":1e999}]"#, "5", "{}"] {
        let record =
            String::from_utf8_lossy(RECORD).replace(r#""NodePort"}"#, &format!(r#""NodePort","ports":{ports}}}"#));
        let Judgement::Evaluated { verdicts, .. } = judge.record(record.as_bytes()) else { panic!("not evaluated") };
        let judged = verdicts.judged();
        let Verdict::Alert(alert) = &judged[0].verdict else { panic!("{ports}: {judged:?}") };
        let context = alert.context.as_str();
        assert!(context.contains("NodePort"), "{context}");
    }
}

/// A large event is given more memory, as it is given more time.
#[test]
fn many_source_addresses_with_their_networks_are_judged() {
    let addresses: Vec<String> = (0..100_000).map(|n| format!("8.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)).collect();
    let networks: Vec<_> = addresses
        .iter()
        .map(|address| serde_json::json!({"asn": "AS1", "name": "An ISP", "p_match": address}))
        .collect();
    let record = serde_json::json!({
        "p_log_type": "Amazon.EKS.Audit",
        "user": {"username": "system:node:a"},
        "sourceIPs": addresses,
        "p_enrichment": {"ipinfo_asn": {"sourceIPs": networks}},
    });
    let Judgement::Evaluated { verdicts, .. } = judge().record(record.to_string().as_bytes()) else {
        panic!("not evaluated")
    };
    let [RuleVerdict { verdict: Verdict::Alert(alert), .. }] = verdicts.judged() else { panic!("{verdicts:?}") };
    let context = alert.context.members();
    assert_eq!((&context["source_ip"], &context["asn"]), (&"8.1.134.159".into(), &"AS1".into()));
    assert_eq!(context["sourceIPs"][31], "8.1.134.159");
}

/// What a client writes must not make an alert too large for the host, which would hide the match.
#[test]
fn a_monstrous_record_still_alerts() {
    let ports = format!("[{}1]", r#"{"port":1,"name":"\u0000"},"#.repeat(100_000));
    let address = "8.8.8.8";
    let record = serde_json::json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "verb": "create",
        "user": {"username": format!("system:node:{}", "\u{1}".repeat(100_000))},
        "userAgent": "\u{0}".repeat(100_000),
        "requestURI": "é".repeat(1_000_000),
        "sourceIPs": vec![address; 100_000],
        "objectRef": {"resource": "services", "namespace": "\"".repeat(100_000), "name": "\\".repeat(100_000)},
        "requestObject": {"spec": {"type": "NodePort", "ports": serde_json::from_str::<serde_json::Value>(&ports).expect("JSON")}},
        "p_source_label": "\n".repeat(100_000),
    });
    let mut judge = judge();
    let Judgement::Evaluated { verdicts, .. } = judge.record(record.to_string().as_bytes()) else {
        panic!("not evaluated")
    };
    let words: Vec<&str> = verdicts.all().map(|(_, verdict)| verdict.as_str()).collect();
    assert_eq!(words, ["alert", "alert"], "{verdicts:?}");
}

/// Nor must what is made of nothing but brackets or names take more than a rule has, wherever it is.
#[test]
fn an_object_of_any_shape_still_alerts() {
    let repeated = |text: &str| vec![text; 2_900_000 / (text.len() + 1)].join(",");
    let deep = format!("{}{}", "[".repeat(1_450_000), "]".repeat(1_450_000));
    let mut judge = judge();
    let items = ["[]", "{}", "[[]]", r#"{"":0}"#, r#"{"":{}}"#, r#""""#, "0"].map(repeated);
    let inside = items
        .into_iter()
        .chain([deep])
        .map(|items| format!(r#""x":[{items}],"spec":{{"type":"NodePort","ports":[1]}}"#));
    let of_33_bytes = format!(r#""":[{}]"#, ["0"; 16].join(","));
    // The last name with escapes is almost one that a rule asks for.
    let escaped = [r#""\n":{}"#, r#""\n":0"#, r#""\nspec":0"#, r#""\u0073pe\n":0"#];
    let members = [r#""":0"#, r#""":{}"#, r#""":{"":0}"#, &of_33_bytes].into_iter().chain(escaped).map(repeated);
    let members: Vec<String> = members.collect();
    let beside = members.iter().map(|members| format!(r#"{members},"spec":{{"type":"NodePort","ports":[1]}}"#));
    let in_spec = members.iter().map(|members| format!(r#""spec":{{{members},"type":"NodePort","ports":[1]}}"#));
    for content in inside.chain(beside).chain(in_spec) {
        let object = format!("{{{content}}}");
        let record = format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create","objectRef":{{"resource":"services"}},"requestObject":{object}}}"#
        );
        let Judgement::Evaluated { verdicts, .. } = judge.record(record.as_bytes()) else { panic!("not evaluated") };
        let [RuleVerdict { verdict, .. }] = verdicts.judged() else { panic!("one is asked") };
        assert!(matches!(verdict, Verdict::Alert(_)), "{}…: {verdict:?}", &content[..20]);
    }
}
