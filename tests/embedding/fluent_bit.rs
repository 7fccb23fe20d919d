//! The filter for Fluent Bit, called as Fluent Bit calls it: one instance for all records, with room from its own `malloc`,
//! and an answer that is a text in its memory or costs the record.

mod configuration;
mod host;
mod hostile;

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::support::{json_lines, project, run_accounted};
use host::{FUNCTION, Host, MODULE, WASM};

/// The alerts in an answer, whose record must stand in front of them as it was; none, if the answer is the record.
fn alerts(record: &str, answer: &str) -> Vec<Value> {
    if record == answer {
        return Vec::new();
    }
    let open = record.trim_end().strip_suffix('}').unwrap_or_else(|| panic!("{answer:.500} of {record:.500}"));
    let member = answer.strip_prefix(open).and_then(|rest| rest.strip_prefix(r#","portcullis":"#));
    let member = member.and_then(|rest| rest.strip_suffix('}')).unwrap_or_else(|| panic!("{answer:.500}"));
    let member: Value = serde_json::from_str(member).expect(member);
    let alerts = member["alerts"].as_array().expect("alerts").clone();
    assert_eq!(member, json!({"verdict": "alert", "alerts": alerts}));
    assert!(!alerts.is_empty());
    alerts
}

/// The generated records, each with the alerts that `portcullis run` gives.
static CORPUS: LazyLock<Vec<(String, Vec<Value>)>> = LazyLock::new(|| {
    let text = fs::read_to_string(project("fixtures/parity/events.ndjson")).expect("the records");
    let run = run_accounted(text.as_bytes(), &[]);
    let mut alerts = run.alerts.into_iter();
    let mut of = |line: &Value| {
        let verdicts = line["rules"].as_object().into_iter().flat_map(|rules| rules.values());
        let count = verdicts.filter(|rule| rule["verdict"] == "alert").count();
        alerts.by_ref().take(count).collect()
    };
    let corpus: Vec<_> = text.lines().zip(&run.ledger).map(|(record, line)| (record.to_owned(), of(line))).collect();
    assert_eq!((corpus.len(), alerts.next()), (4000, None));
    corpus
});

/// One that alerts, and one that does not and is read all the same.
const MATCHING: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","auditID":"1","verb":"create","user":{"username":"ada"},"objectRef":{"resource":"services","namespace":"prod","name":"web"},"requestObject":{"spec":{"type":"NodePort"}}}"#;
const QUIET: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","auditID":"2","verb":"get","user":{"username":"system:node:a"},"sourceIPs":["10.0.0.1"],"objectRef":{"resource":"pods"}}"#;

#[test]
fn it_is_small_and_imports_nothing_and_exports_what_is_called() {
    assert!(WASM.len() <= 400_000, "{} bytes", WASM.len());
    assert_eq!(MODULE.imports().len(), 0);
    let exports: BTreeSet<&str> = MODULE.exports().map(|export| export.name()).collect();
    // Where its own stack lies, which the linker says: Fluent Bit's runtime guards it.
    let of_linker = ["__data_end", "__heap_base"];
    let expected = ["free", "malloc", "memory", FUNCTION].into_iter().chain(of_linker);
    assert_eq!(exports, expected.collect());
}

#[test]
fn all_records_have_the_alerts_of_the_command_and_memory_stays_as_it_is() {
    let expected =
        json_lines(&fs::read_to_string(project("fixtures/parity/expected.ndjson")).expect("the expectations"));
    let mut host = Host::new();
    let mut sizes = BTreeSet::new();
    for pass in 0..11 {
        for ((record, of_command), expected) in CORPUS.iter().zip(&expected) {
            let answer = host.text(record);
            if pass > 0 {
                continue;
            }
            let alerts = alerts(record, &answer);
            assert_eq!(&alerts, of_command, "{record}");
            let expects = |rule: &str| usize::from(expected[rule] == true);
            assert_eq!(alerts.len(), expects("nodeport") + expects("system_principal"), "{record}");
        }
        if pass > 0 {
            sizes.insert(host.size());
        }
    }
    assert_eq!(sizes.len(), 1, "{sizes:?}");
    assert!(host.size() <= 4 << 20, "{} bytes", host.size());
}

#[test]
fn an_annotated_record_is_not_annotated_again() {
    let mut host = Host::new();
    let mut count = 0;
    for (record, _) in CORPUS.iter().filter(|(_, alerts)| !alerts.is_empty()) {
        let once = host.text(record);
        assert_eq!(host.text(&once), once, "{record}");
        count += 1;
    }
    assert!(count > 1000);
    // What somebody else has written there does not stay, wherever it stands.
    let with_other = MATCHING.replacen('{', r#"{"portcullis":{"verdict":"none"},"#, 1);
    assert_eq!(host.text(&with_other), host.text(MATCHING));
}

#[test]
fn unparsed_text_in_a_record_is_searched() {
    let mut host = Host::new();
    let matching: Vec<_> = CORPUS.iter().filter(|(_, alerts)| !alerts.is_empty()).collect();
    for (n, (record, of_command)) in matching.into_iter().enumerate() {
        for name in ["log", "message"] {
            let wrapped = json!({"time": "2026-11-18T11:04:30Z", name: record, "stream": "stdout"}).to_string();
            assert_eq!(&alerts(&wrapped, &host.text(&wrapped)), of_command, "{wrapped}");
        }
        let object = format!(r#"{{"log":{record},"b":1.0}}"#);
        assert_eq!(&alerts(&object, &host.text(&object)), of_command, "{object}");
        // Before the first value, so that nothing is whole of it.
        let cut = n % record.find(':').expect("an object").max(1);
        let broken = json!({"log": &record[..cut], "message": 5}).to_string();
        assert_eq!(host.text(&broken), broken);
    }
}

#[test]
fn other_records_come_back_unchanged() {
    let mut host = Host::new();
    let others = [
        "{}",
        "[]",
        "5",
        "null",
        r#""NodePort""#,
        "{\"a\" : \"NodePort\" }  ",
        r#"{"log":"NodePort","stream":"stderr","kubernetes":{"pod_name":"a"}}"#,
        r#"{"log":"","message":"{\"spec\":{\"type\":\"NodePort\"}}"}"#,
        r#"{"MESSAGE":"system:node","_PID":"1","PRIORITY":6}"#,
        r#"{"portcullis":{"verdict":"alert"},"a":"NodePort"}"#,
        r#"{"log":{"log":{"log":"NodePort"}}}"#,
    ];
    for other in others {
        assert_eq!(host.text(other), other);
    }
}

#[test]
fn a_list_of_records_has_the_alerts_of_all() {
    let mut host = Host::new();
    let list = |items: &str| format!(r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{items}]}}"#);
    let quiet = list(QUIET);
    assert_eq!(host.text(&quiet), quiet);
    let both = list(&format!("{QUIET},{MATCHING},{{}},5,{MATCHING}"));
    let of_one = alerts(MATCHING, &host.text(MATCHING));
    assert_eq!(alerts(&both, &host.text(&both)), [of_one.clone(), of_one].concat());
}

#[test]
fn a_record_stays_as_it_was_written() {
    let mut host = Host::new();
    let odd = r#""a":1.0,"b":1e300,"c":-0,"a":"\u00e9\ud800\/","é":"\ud83d\ude00", "" : [ ]"#;
    let record = MATCHING.replacen('{', &format!("{{ {odd} ,"), 1);
    assert_eq!(alerts(&record, &host.text(&record)).len(), 1);
    let escaped = MATCHING.replace("NodePort", r"\u004eodePort");
    assert_eq!(alerts(&escaped, &host.text(&escaped)).len(), 1);
}

/// A record that Fluent Bit has read and written has the ids and contexts of the record that the API server wrote.
#[test]
fn other_spellings_of_a_record_have_its_alerts() {
    let mut host = Host::new();
    let text = fs::read_to_string(project("fixtures/fluent-bit/spellings.ndjson")).expect("the recording");
    let lines: Vec<&str> = text.lines().collect();
    let mut differ = Vec::new();
    for pair in lines.chunks(2) {
        let [written, by_fluent_bit] = pair else { panic!("pairs") };
        let expected = run_accounted(written.as_bytes(), &[]).alerts;
        assert_eq!(expected.len(), 1, "{written}");
        for record in [*written, by_fluent_bit] {
            let answer = host.text(record);
            // The record before it need not be what a program can hold: it may have half of a surrogate pair.
            let member = answer.rsplit_once(r#","portcullis":"#).and_then(|(_, rest)| rest.strip_suffix('}'));
            let member: Value = serde_json::from_str(member.expect("the member at the end")).expect("JSON");
            let found = member["alerts"].as_array().expect("alerts").clone();
            let ids = |alerts: &[Value]| alerts.iter().map(|alert| alert["alert_id"].clone()).collect::<Vec<_>>();
            assert_eq!(ids(&found), ids(&expected), "{record}");
            if found != expected {
                differ.push(record);
            }
        }
        // As text, a record stays as it is.
        let in_text = json!({ "log": written }).to_string();
        assert_eq!(alerts(&in_text, &host.text(&in_text)), expected, "{written}");
    }
    assert_eq!(lines.len(), 22);
    // 16 digits are not enough for two of the numbers, and the last spelling of a name counts.
    assert!(matches!(differ[..], [numbers] if numbers.contains("1.234567890123457e+20")), "{differ:#?}");
}

/// Fluent Bit 5.1 ends if it is answered with a number that no double can hold, and at each start again.
#[test]
fn no_answer_has_a_number_that_fluent_bit_cannot_read() {
    let mut host = Host::new();
    for (record, answer) in [
        (r#"{"a":1.797693134862316e+308}"#, r#"{"a":1.797693134862315e+308}"#),
        (r#"{"a":[-1.797693134862316e+308,1]}"#, r#"{"a":[-1.797693134862315e+308,1]}"#),
        (r#"{"a":1.797693134862315e+308}"#, r#"{"a":1.797693134862315e+308}"#),
        (r#"{"a":"1.797693134862316e+308"}"#, r#"{"a":"1.797693134862316e+308"}"#),
    ] {
        assert_eq!(host.text(record), answer);
    }
    let ports = MATCHING.replacen(r#""spec":{"#, r#""spec":{"ports":[{"port":-1.797693134862316e+308}],"#, 1);
    let bounded = ports.replace("316e+308", "315e+308");
    let [alert] = &alerts(&bounded, &host.text(&ports))[..] else { panic!("one alert") };
    assert_eq!(alert["context"]["ports"], json!([{"port": -1.797_693_134_862_315e308}]));
}

#[test]
fn large_records_pass_and_their_memory_is_freed() {
    let mut host = Host::new();
    let mut sizes = Vec::new();
    for _ in 0..3 {
        for size in [1 << 20, 8 << 20] {
            let filler: String = "\"0123456789abc\\n\",".repeat(size / 18);
            for (record, count) in [(MATCHING, 1), (QUIET, 0)] {
                let large = record.replacen('{', &format!(r#"{{"filler":[{filler}0],"#), 1);
                assert_eq!(alerts(&large, &host.text(&large)).len(), count);
            }
            let data = "a".repeat(size);
            let spec = format!(r#""spec":{{"data":"{data}","#);
            let large = MATCHING.replacen(r#""spec":{"#, &spec, 1);
            // A request of over 4 MiB is not shown to rules, but its type is.
            assert_eq!(alerts(&large, &host.text(&large)).len(), 1);
        }
        assert_eq!(alerts(MATCHING, &host.text(MATCHING)).len(), 1);
        sizes.push(host.size());
    }
    assert_eq!(sizes[1], sizes[2], "{sizes:?}");
    assert!(sizes[2] <= 128 << 20, "{sizes:?}");
}
