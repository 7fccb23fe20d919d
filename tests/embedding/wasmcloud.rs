//! The component for wasmCloud, in a host of ours that offers it what wasmCloud's hosts do, and over a NATS server.

mod manifests;

use std::fs;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{FutureExt as _, StreamExt as _};
use portcullis::{Engine, Judge, Judgement, Limits, RuleSet, embedded};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, HasSelf, InstancePre, Linker, Type};
use wasmtime::{Store, StoreLimits, StoreLimitsBuilder};

use crate::support::nats::Nats;
use crate::support::service::PATIENCE;
use crate::support::{json_lines, pipeline, project, run_accounted, text};
use bindings::wasmcloud::messaging::types::BrokerMessage;
use bindings::wasmcloud::messaging::{consumer, types};
use bindings::{Messaging, MessagingPre};

/// What wasmtime makes of the component's world.
mod bindings {
    wasmtime::component::bindgen!({ path: "../../rules-wasm/wasmcloud/wit", world: "messaging" });
}

/// What is subscribed to in the manifests, and by which group.
const SUBSCRIPTION: &str = "audit.>";
const GROUP: &str = "portcullis";

/// The subject that records come on.
const SUBJECT: &str = "audit.prod.eu-1";

/// The memory that it is given, in bytes: enough for a message of any size that NATS takes by default.
const MEMORY: usize = 48 << 20;

/// The component, compiled once.
static COMPONENT: LazyLock<Component> = LazyLock::new(|| {
    let engine = wasmtime::Engine::default();
    Component::new(&engine, pipeline("wasmcloud")).expect("a component")
});

static PRE: LazyLock<MessagingPre<Broker>> = LazyLock::new(|| {
    let mut linker = Linker::new(COMPONENT.engine());
    Messaging::add_to_linker::<_, HasSelf<_>>(&mut linker, |broker| broker).expect("linked");
    let pre: InstancePre<Broker> = linker.instantiate_pre(&COMPONENT).expect("it imports nothing else");
    MessagingPre::new(pre).expect("it exports the handler")
});

/// What takes an alert.
type Publish = Box<dyn FnMut(&BrokerMessage) -> Result<(), String> + Send>;

/// The host's side of messaging.
struct Broker {
    publish: Publish,
    published: Vec<BrokerMessage>,
    limits: StoreLimits,
}

impl types::Host for Broker {}

impl consumer::Host for Broker {
    fn request(&mut self, subject: String, _body: Vec<u8>, _timeout_ms: u32) -> Result<BrokerMessage, String> {
        panic!("it asks nobody for anything: {subject}")
    }

    fn publish(&mut self, message: BrokerMessage) -> Result<(), String> {
        (self.publish)(&message)?;
        self.published.push(message);
        Ok(())
    }
}

/// A running component.
struct Handler {
    store: Store<Broker>,
    messaging: Messaging,
}

impl Handler {
    fn new() -> Self {
        Self::publishing(|_| Ok(()))
    }

    fn publishing(publish: impl FnMut(&BrokerMessage) -> Result<(), String> + Send + 'static) -> Self {
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY).trap_on_grow_failure(true).build();
        let broker = Broker { publish: Box::new(publish), published: Vec::new(), limits };
        let mut store = Store::new(COMPONENT.engine(), broker);
        store.limiter(|broker| &mut broker.limits);
        let messaging = PRE.instantiate(&mut store).expect("it starts");
        Self { store, messaging }
    }

    fn handle(&mut self, subject: &str, body: &[u8]) -> Result<(), String> {
        let reply_to = Some("nobody.answers".to_owned());
        let message = BrokerMessage { subject: subject.to_owned(), body: body.to_vec(), reply_to };
        let handler = self.messaging.wasmcloud_messaging_handler();
        handler.call_handle_message(&mut self.store, &message).expect("it does not trap")
    }

    /// What was published since this was last asked.
    fn published(&mut self) -> Vec<BrokerMessage> {
        std::mem::take(&mut self.store.data_mut().published)
    }
}

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
        Judgement::Rejected(rejected) => Err(format!("the message on {SUBJECT} is no record: {rejected}")),
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
fn an_alert_that_is_not_published_is_an_error_and_the_last_thing_that_is_tried() {
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
fn what_is_no_single_record_is_an_error_that_says_why() {
    let record = String::from_utf8(lines("fixtures/samples/eks.ndjson")[0].clone()).expect("UTF-8");
    let item: Value = serde_json::from_str(&record).expect("JSON");
    let event_list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [item, item]}).to_string();
    let mut handler = Handler::new();
    for (body, reason) in [
        (&b""[..], "nothing where a record should be"),
        (b" \n", "nothing where a record should be"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"{\"kind\":\"\xc3\"}", "not UTF-8 at byte 9"),
        (b"[{}]", "not a JSON object"),
        (b"{\"kind\":", "cut off: "),
        (b"{]", "not JSON: "),
        (br#"{"items":[]}"#, "not a record, but a list of them in items: take them out first"),
    ] {
        let error = handler.handle(SUBJECT, body).expect_err("no record");
        let expected = format!("the message on {SUBJECT} is no record: {reason}");
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
    assert!(size <= 330_000, "{size} bytes");
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

/// Two hosts in one queue group, as wasmCloud's subscribe, give each record to one of them.
#[test]
fn records_from_nats_become_alerts_on_nats() {
    let nats = Nats::start();
    let records = records();
    let subjects = ["audit.prod.eu-1", "audit.prod.us-1", "audit.test"];
    let handled = AtomicUsize::new(0);
    let (errors, mut alerts) = std::thread::scope(|scope| {
        let (subscribed, is_subscribed) = std::sync::mpsc::channel();
        let hosts = [subscribed.clone(), subscribed].map(|subscribed| {
            let (nats, handled) = (&nats, &handled);
            scope.spawn(move || serve(nats, handled, || subscribed.send(()).expect("heard")))
        });
        for _ in &hosts {
            is_subscribed.recv_timeout(PATIENCE).expect("both subscribe");
        }
        let runtime = runtime();
        let client = runtime.block_on(connect(&nats));
        let mut alerts = runtime.block_on(async {
            let alerts = client.subscribe("alerts.>").await.expect("subscribed");
            for (n, record) in records.iter().enumerate() {
                client.publish(subjects[n % subjects.len()], record.clone().into()).await.expect("published");
            }
            alerts
        });
        let errors: usize = hosts.map(|host| host.join().expect("a host")).iter().sum();
        runtime.block_on(settle(&client));
        let mut all = Vec::new();
        while let Some(Some(message)) = alerts.next().now_or_never() {
            all.push((message.subject.to_string(), String::from_utf8(message.payload.to_vec()).expect("UTF-8")));
        }
        (errors, all)
    });
    let mut expected = Vec::new();
    for (n, of_record) in alerts_of_records().into_iter().enumerate() {
        let subject = format!("alerts.{}", subjects[n % subjects.len()]);
        expected.extend(of_record.into_iter().map(|alert| (subject.clone(), alert)));
    }
    alerts.sort();
    expected.sort();
    assert_eq!((handled.into_inner(), errors, alerts.len()), (records.len(), 34, expected.len()));
    assert!(alerts == expected, "the alerts on NATS are others");
}

/// Takes records off a queue until all are handled, and publishes their alerts, as a host of wasmCloud does. How many were
/// errors.
fn serve(nats: &Nats, handled: &AtomicUsize, subscribed: impl FnOnce()) -> usize {
    let runtime = runtime();
    let client = runtime.block_on(connect(nats));
    let mut messages = runtime.block_on(async {
        let messages = client.queue_subscribe(SUBSCRIPTION, GROUP.to_owned()).await.expect("subscribed");
        settle(&client).await;
        messages
    });
    subscribed();
    let (publisher, publishing) = (client.clone(), runtime.handle().clone());
    let mut component = Handler::publishing(move |message| {
        let sent = publisher.publish(message.subject.clone(), message.body.clone().into());
        publishing.block_on(sent).map_err(|error| error.to_string())
    });
    let (began, mut errors) = (Instant::now(), 0);
    while handled.load(Ordering::SeqCst) < 4000 && began.elapsed() < PATIENCE {
        let next = async { tokio::time::timeout(Duration::from_millis(20), messages.next()).await };
        let Ok(Some(message)) = runtime.block_on(next) else { continue };
        errors += usize::from(component.handle(&message.subject, &message.payload).is_err());
        handled.fetch_add(1, Ordering::SeqCst);
    }
    runtime.block_on(settle(&client));
    errors
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

async fn connect(nats: &Nats) -> async_nats::Client {
    async_nats::connect(nats.url()).await.expect("the server is there")
}

/// Waits until the server has taken what the client has sent before: a message of its own comes back behind it.
async fn settle(client: &async_nats::Client) {
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await.expect("subscribed");
    client.publish(inbox, Vec::new().into()).await.expect("published");
    let came = tokio::time::timeout(PATIENCE, echo.next()).await;
    came.expect("it comes back").expect("a message");
}
