//! The component for wasmCloud, in a host of ours that offers it what wasmCloud's hosts do, and over a NATS server.

mod broker;
mod manifests;
mod nats;

use std::fs;

use portcullis::{Engine, Judge, Judgement, Limits, RuleSet, embedded};
use serde_json::{Value, json};
use wasmtime::component::Type;
use wasmtime::component::types::{ComponentFunc, ComponentItem};

use crate::support::{json_lines, pipeline, project, run_accounted, text};
use broker::{COMPONENT, Handler, SUBJECT};

fn lines(file: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(project(file)).expect("read");
    text.lines().map(|line| line.as_bytes().to_vec()).collect()
}

fn records() -> Vec<Vec<u8>> {
    lines("fixtures/parity/events.ndjson")
}

/// Of each of the 4,000 records the lines that `portcullis run` writes.
fn alerts_of_records() -> Vec<Vec<String>> {
    let run = run_accounted(&records().join(&b'\n'), &[]);
    let expected = fs::read_to_string(project("fixtures/parity/expected.ndjson")).expect("the expectations");
    let mut alerts = run.ended.stdout.lines().map(ToOwned::to_owned);
    let of_record = |expected: &Value| {
        let rules = [&expected["nodeport"], &expected["system_principal"]];
        let count = rules.iter().filter(|is_alert| **is_alert == &Value::Bool(true)).count();
        alerts.by_ref().take(count).collect()
    };
    let of_records: Vec<Vec<String>> = json_lines(&expected).iter().map(of_record).collect();
    assert_eq!((of_records.len(), alerts.next()), (4000, None));
    of_records
}

/// What the handler says of each record, by what the host says of it.
fn results_of_records() -> Vec<Result<(), String>> {
    let engine = Engine::new().expect("an engine");
    let rules = RuleSet::new(embedded::packages(&engine).expect("the embedded rules")).expect("two rules");
    let mut judge = Judge::new(rules.into(), Limits::default());
    let of_record = |record: &Vec<u8>| match judge.record(record) {
        Judgement::Evaluated { .. } | Judgement::Ignored(_) => Ok(()),
        Judgement::Rejected(rejected) => Err(format!("the message on {SUBJECT} is not a record: {rejected}")),
        Judgement::Unclaimed(unclaimed) => panic!("there are no tenants: {unclaimed:?}"),
    };
    records().iter().map(of_record).collect()
}

#[test]
fn every_record_has_the_alerts_that_the_command_gives() {
    let (alerts, results) = (alerts_of_records(), results_of_records());
    let mut one_for_all = Handler::new();
    let mut differing = Vec::new();
    for (n, record) in records().iter().enumerate() {
        for handler in [&mut one_for_all, &mut Handler::new()] {
            let result = handler.handle(SUBJECT, record);
            let published = handler.published();
            for message in &published {
                assert_eq!((&*message.subject, &message.reply_to), ("alerts.audit.prod.eu-1", &None));
            }
            let bodies: Vec<_> = published.iter().map(|message| String::from_utf8_lossy(&message.body)).collect();
            if (&result, bodies == alerts[n]) != (&results[n], true) {
                differing.push(format!("{n}: {result:?} {bodies:?}\n   expected {:?} {:?}", results[n], alerts[n]));
            }
        }
    }
    assert!(differing.is_empty(), "{} of 8000 differ:\n{}", differing.len(), differing.join("\n"));
    let errors = results.iter().filter(|result| result.is_err()).count();
    assert_eq!(errors, 34, "what is rejected is an error, and nothing else");
}

#[test]
fn alerts_go_where_the_message_came_from() {
    let record = &lines("fixtures/samples/eks.ndjson")[0];
    let mut handler = Handler::new();
    for subject in ["audit", "audit.a.b.c", "audit.Überall", ""] {
        assert_eq!(handler.handle(subject, record), Ok(()));
        let subjects: Vec<String> = handler.published().into_iter().map(|message| message.subject).collect();
        assert_eq!(subjects, [format!("alerts.{subject}")]);
    }
}

#[test]
fn an_alert_that_is_not_published_is_an_error_and_ends_the_message() {
    let two = &lines("fixtures/samples/eks.ndjson")[10];
    let mut handler = Handler::new();
    assert_eq!(handler.handle(SUBJECT, two), Ok(()));
    let alerts: Vec<Vec<u8>> = handler.published().into_iter().map(|message| message.body).collect();
    assert_eq!(alerts.len(), 2);

    for fails_at in [0, 1] {
        let mut tried = 0;
        let mut handler = Handler::publishing(move |_| {
            tried += 1;
            if tried == fails_at + 1 { Err("no servers".to_owned()) } else { Ok(()) }
        });
        let alert: Value = serde_json::from_slice(&alerts[fails_at]).expect("JSON");
        let (id, rule) = (text(&alert["alert_id"]), text(&alert["rule_id"]));
        let expected = format!("alert {id} of {rule} was not published on alerts.{SUBJECT}: no servers");
        assert_eq!(handler.handle(SUBJECT, two), Err(expected));
        let published: Vec<Vec<u8>> = handler.published().into_iter().map(|message| message.body).collect();
        assert_eq!(published, alerts[..fails_at], "nothing follows");
        // Brought again, it is the same alerts with the same ids.
        assert_eq!(handler.handle(SUBJECT, two), Ok(()));
        let again: Vec<Vec<u8>> = handler.published().into_iter().map(|message| message.body).collect();
        assert_eq!(again, alerts);
    }
}

#[test]
fn input_that_is_not_one_record_is_an_error_with_the_reason() {
    let record = String::from_utf8(lines("fixtures/samples/eks.ndjson")[0].clone()).expect("UTF-8");
    let item: Value = serde_json::from_str(&record).expect("JSON");
    let event_list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [item, item]}).to_string();
    let mut handler = Handler::new();
    for (body, reason) in [
        (&b""[..], "empty; expected a JSON object"),
        (b" \n", "empty; expected a JSON object"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"{\"kind\":\"\xc3\"}", "not UTF-8 at byte 9"),
        (b"[{}]", "not a JSON object"),
        (b"{\"kind\":", "cut off: "),
        (b"{]", "not JSON: "),
        (br#"{"items":[]}"#, "not a record, but a list of them in items: take them out first"),
    ] {
        let error = handler.handle(SUBJECT, body).expect_err("no record");
        let expected = format!("the message on {SUBJECT} is not a record: {reason}");
        assert!(error.starts_with(&expected), "{error}\n{expected}");
        assert!(handler.published().is_empty());
    }
    // What carries records is not one, and they are judged.
    for (carrier, count) in [(format!("[{record}]"), 1), (format!("{record}\n{record}"), 2), (event_list, 2)] {
        assert_eq!(handler.handle(SUBJECT, carrier.as_bytes()), Ok(()), "{carrier}");
        let published = handler.published();
        assert_eq!(published.len(), count, "{carrier}");
        assert!(published.iter().all(|alert| alert.body == published[0].body), "{carrier}");
    }
    // What is no audit event is passed over.
    for other in ["{}", r#"{"p_log_type":"AWS.CloudTrail"}"#, r#"{"category":"kube-apiserver","properties":{}}"#] {
        assert_eq!((handler.handle(SUBJECT, other.as_bytes()), handler.published().len()), (Ok(()), 0), "{other}");
    }
    assert_eq!((handler.handle(SUBJECT, record.as_bytes()), handler.published().len()), (Ok(()), 1));
}

/// A message of NATS has at most a mebibyte, unless its server says otherwise.
#[test]
fn a_record_as_large_as_a_message_is_judged_in_the_memory_of_one() {
    let mut record: Value = serde_json::from_slice(&lines("fixtures/samples/eks.ndjson")[0]).expect("JSON");
    let length = record.to_string().len();
    record["annotations"] = json!({ "padding": "" });
    record["annotations"]["padding"] = "x".repeat((1 << 20) - record.to_string().len()).into();
    let record = record.to_string();
    assert!(record.len() == 1 << 20 && length < 10_000);
    let mut handler = Handler::new();
    for _ in 0..100 {
        assert_eq!((handler.handle(SUBJECT, record.as_bytes()), handler.published().len()), (Ok(()), 1));
    }
    let nested = "[".repeat(1 << 20);
    assert!(handler.handle(SUBJECT, nested.as_bytes()).is_err());
    assert_eq!((handler.handle(SUBJECT, record.as_bytes()), handler.published().len()), (Ok(()), 1));
}

/// The contract is that of wasmCloud's hosts: these names, and these types.
#[test]
fn it_needs_messaging_and_nothing_else() {
    let size = pipeline("wasmcloud").len();
    assert!(size <= 400_000, "{size} bytes");
    let (engine, world) = (COMPONENT.engine(), COMPONENT.component_type());
    let imports = world.imports(engine).flat_map(|(name, item)| functions(name, &item.ty));
    let exports = world.exports(engine).flat_map(|(name, item)| functions(name, &item.ty));
    let message = "{subject: string, body: list<u8>, reply-to: option<string>}";
    assert_eq!(
        imports.collect::<Vec<_>>(),
        [
            "wasmcloud:messaging/types@0.2.0".to_owned(),
            "wasmcloud:messaging/consumer@0.2.0".to_owned(),
            format!("wasmcloud:messaging/consumer@0.2.0 publish(msg: {message}) -> result<_, string>"),
        ]
    );
    assert_eq!(
        exports.collect::<Vec<_>>(),
        [
            "wasmcloud:messaging/handler@0.2.0".to_owned(),
            format!("wasmcloud:messaging/handler@0.2.0 handle-message(msg: {message}) -> result<_, string>"),
        ]
    );
}

/// The name of an interface, and its functions.
fn functions(name: &str, item: &ComponentItem) -> Vec<String> {
    let ComponentItem::ComponentInstance(interface) = item else { panic!("{name} is no interface") };
    let functions = interface.exports(COMPONENT.engine()).filter_map(|(function, item)| match &item.ty {
        ComponentItem::ComponentFunc(ty) => Some(format!("{name} {function}{}", signature(ty))),
        ComponentItem::Type(_) => None,
        _ => panic!("{function} of {name} is neither a function nor a type"),
    });
    std::iter::once(name.to_owned()).chain(functions).collect()
}

fn signature(function: &ComponentFunc) -> String {
    let params: Vec<String> = function.params().map(|(name, ty)| format!("{name}: {}", written(&ty))).collect();
    let results: Vec<String> = function.results().map(|ty| written(&ty)).collect();
    format!("({}) -> {}", params.join(", "), results.join(", "))
}

fn written(ty: &Type) -> String {
    let or_none = |ty: Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), written);
    match ty {
        Type::String => "string".to_owned(),
        Type::U8 => "u8".to_owned(),
        Type::List(list) => format!("list<{}>", written(&list.ty())),
        Type::Option(option) => format!("option<{}>", written(&option.ty())),
        Type::Result(result) => format!("result<{}, {}>", or_none(result.ok()), or_none(result.err())),
        Type::Record(record) => {
            let fields: Vec<String> =
                record.fields().map(|field| format!("{}: {}", field.name, written(&field.ty))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => panic!("{other:?} is in no message"),
    }
}
