//! A rule that misbehaves costs its own verdict and nothing else: each limit, with a component that runs into it next to
//! the two real rules.

use std::sync::Arc;

use crate::support;
use portcullis::{Engine, Fault, Judge, Judgement, Limits, Package, RuleSet, Verdict, embedded};

/// A record that the NodePort rule matches.
const RECORD: &[u8] = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create","user":{"username":"ada"},
    "objectRef":{"resource":"services"},"requestObject":{"spec":{"type":"NodePort"}}}"#;

/// The two rules, alone.
fn judge() -> Judge {
    let engine = Engine::new().expect("an engine");
    let packages = embedded::packages(&engine).expect("the embedded rules");
    Judge::new(Arc::new(RuleSet::new(packages).expect("two rules")), Limits::default())
}

/// Judges the record `times` over with a hostile component and the two rules; checks that the rules are as they are
/// without it, and gives the hostile one's verdicts.
fn hostile(name: &str, times: usize) -> Vec<Verdict> {
    let engine = Engine::new().expect("an engine");
    let mut packages = embedded::packages(&engine).expect("the embedded rules");
    packages.push(Package::load(&engine, &support::hostile(name), name).expect("a package"));
    let rules = Arc::new(RuleSet::new(packages).expect("three rules"));
    let mut judge = Judge::new(Arc::clone(&rules), Limits::default());
    (0..times)
        .map(|_| {
            let Judgement::Evaluated { mut verdicts, .. } = judge.record(RECORD) else { panic!("not evaluated") };
            let words: Vec<&str> = verdicts[1..].iter().map(|verdict| verdict.verdict.word()).collect();
            assert_eq!(words, ["alert", "skipped"], "the other rules judge as ever");
            assert!(rules.packages()[verdicts[0].rule].rule_id().starts_with("Hostile."));
            verdicts.remove(0).verdict
        })
        .collect()
}

fn faults(name: &str) -> Vec<Fault> {
    let fault = |verdict| match verdict {
        Verdict::Fault(fault) => fault,
        other => panic!("{name} is expected to fault, and says {other:?}"),
    };
    hostile(name, 2).into_iter().map(fault).collect()
}

#[test]
fn a_loop_is_stopped_wherever_it_is() {
    let limit = Limits::default().time;
    for name in ["loops", "loops-at-start"] {
        assert_eq!(faults(name), [Fault::Time(limit), Fault::Time(limit)], "{name}");
    }
}

#[test]
fn deep_recursion_is_stopped() {
    assert_eq!(faults("recurses"), [Fault::Stack, Fault::Stack]);
}

/// Every event makes the component trap with a message that begins so.
fn traps(name: &str, message: &str) {
    for fault in faults(name) {
        let Fault::Trap(found) = fault else { panic!("{name}: {fault:?}") };
        assert!(found.starts_with(message), "{name}: {found}");
    }
}

#[test]
fn too_much_memory_is_refused() {
    traps("grows", "forcing trap when growing memory to 16842752 bytes");
    traps("starts-large", "forcing trap when growing memory to 1073741824 bytes");
    traps("large-table", "forcing trap when growing table to 1000000 elements");
}

#[test]
fn an_answer_that_is_too_large_or_no_text_is_refused() {
    traps("large-title", "too much data is being copied between the host and the guest");
    traps("bad-utf8", "invalid utf-8 sequence");
}

#[test]
fn a_context_that_is_no_object_is_refused() {
    for fault in faults("bad-context") {
        assert!(matches!(&fault, Fault::Answer(found) if found.contains("not a JSON object")), "{fault:?}");
    }
}

#[test]
fn after_a_fault_the_next_event_gets_a_fresh_instance() {
    let verdicts = hostile("traps-every-second-time", 6);
    let words: Vec<&str> = verdicts.iter().map(Verdict::word).collect();
    assert_eq!(words, ["no-match", "fault", "no-match", "fault", "no-match", "fault"]);
}

#[test]
fn no_rule_carries_anything_from_batch_to_batch() {
    assert!(hostile("remembers", 1000).iter().all(|verdict| matches!(verdict, Verdict::NoMatch)));
}

/// A wrong embedder must hear what is wrong: the trap's backtrace names it.
#[test]
fn what_is_no_normalized_event_is_a_trap_that_says_so() {
    let engine = Engine::new().expect("an engine");
    for package in embedded::packages(&engine).expect("the embedded rules") {
        let mut sandbox = portcullis::Sandbox::new(package, Limits::default());
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
        let Verdict::Alert(alert) = &verdicts[0].verdict else { panic!("{ports}: {:?}", verdicts[0]) };
        let context = serde_json::to_string(&alert.context).expect("JSON");
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
    let Verdict::Alert(alert) = &verdicts[1].verdict else { panic!("{:?}", verdicts[1]) };
    assert_eq!((&alert.context["source_ip"], &alert.context["asn"]), (&"8.1.134.159".into(), &"AS1".into()));
    assert_eq!(alert.context["sourceIPs"][31], "8.1.134.159");
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
    let words: Vec<&str> = verdicts.iter().map(|verdict| verdict.verdict.word()).collect();
    assert_eq!(words, ["alert", "alert"], "{verdicts:?}");
}
