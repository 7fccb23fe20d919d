//! A kube-apiserver's audit webhook: batches of events in an `EventList`, several at once and in no order, each tried again with ever
//! longer pauses, and dropped then.
//!
//! What it posts is what Kubernetes' source writes. In `staging/src/k8s.io/apiserver` the types, and so the order of members, are in
//! `pkg/apis/audit/v1/types.go`; the sending is in `plugin/pkg/audit/webhook`. `kind` and `apiVersion` stand on the list only. By default a
//! batch has at most 400 events and is tried 5 times; the first pause is 10 s, each is 1.5 times as long as the one before, and up to a
//! fifth more by chance. Here pauses are milliseconds. `fixtures/apiserver` holds what a real one posted, to compare with.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::records::records;
use super::service::{API, agent, ask};

/// The most events of a batch, by default.
const BATCH: usize = 400;

/// How often a batch is tried.
const TRIES: u32 = 5;

/// The first pause, which is 10 s by default, and what each is to the one before.
const PAUSE: Duration = Duration::from_millis(250);
const FACTOR: f64 = 1.5;

/// The members of an event, of its `user`, its `objectRef` and its `responseStatus`, in the order of their types in Go.
const EVENT: [&str; 17] = [
    "level",
    "auditID",
    "stage",
    "requestURI",
    "verb",
    "user",
    "impersonatedUser",
    "authenticationMetadata",
    "sourceIPs",
    "userAgent",
    "objectRef",
    "responseStatus",
    "requestObject",
    "responseObject",
    "requestReceivedTimestamp",
    "stageTimestamp",
    "annotations",
];
const USER: [&str; 4] = ["username", "uid", "groups", "extra"];
const OBJECT: [&str; 8] =
    ["resource", "namespace", "name", "uid", "apiGroup", "apiVersion", "resourceVersion", "subresource"];
const STATUS: [&str; 6] = ["metadata", "status", "message", "reason", "details", "code"];

/// So many batches are on their way at a time.
const AT_ONCE: usize = 4;

/// Random numbers that are the same each time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One below this.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }
}

/// What has become of what was sent.
#[derive(Default)]
pub(crate) struct Sent {
    /// All events by their audit id.
    pub(crate) events: HashMap<String, String>,
    /// The deliveries that were accepted: the receipt, and the audit ids.
    pub(crate) accepted: Vec<(Value, Vec<String>)>,
    /// Deliveries that were given up.
    pub(crate) dropped: u64,
    /// Tries that failed.
    pub(crate) failed_tries: u64,
}

/// Audit events as one cluster's API server writes them, each with an id of its own. A few have a field of a wrong type.
pub(crate) fn events(seed: u64, count: usize) -> impl Iterator<Item = (String, String)> {
    let is_event = |record: &Value| record["apiVersion"] == "audit.k8s.io/v1";
    let mut dice = Dice::new(seed);
    records(seed, usize::MAX)
        .map(|record| serde_json::from_str::<Value>(&record).expect("JSON"))
        .filter(is_event)
        .take(count)
        .enumerate()
        .map(move |(n, mut event)| {
            let id = format!("{seed:08x}-{n:012}");
            event["auditID"] = id.clone().into();
            if dice.below(100) == 0 {
                event["userAgent"] = json!(["not", "a", "text"]);
            }
            (id, event.to_string())
        })
}

/// An `EventList` of these, as the webhook posts it.
pub(crate) fn event_list<'e>(events: impl IntoIterator<Item = &'e str>) -> String {
    let items: Vec<String> = events.into_iter().map(item).collect();
    format!(
        "{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{{}},\"items\":[{}]}}\n",
        items.join(",")
    )
}

/// An item of the list, of an event as the log has it. What is no JSON stays as it is.
fn item(event: &str) -> String {
    let Ok(Value::Object(mut event)) = serde_json::from_str(event) else { return event.to_owned() };
    event.remove("kind");
    event.remove("apiVersion");
    for (name, members) in
        [("user", &USER[..]), ("impersonatedUser", &USER), ("objectRef", &OBJECT), ("responseStatus", &STATUS)]
    {
        if let Some(Value::Object(object)) = event.get_mut(name) {
            *object = in_order(std::mem::take(object), members);
        }
    }
    // So does Go write these, wherever they stand.
    let text = Value::from(in_order(event, &EVENT)).to_string();
    text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

/// The members of an object in this order, and any others behind them.
fn in_order(mut object: Map<String, Value>, members: &[&str]) -> Map<String, Value> {
    let known: Vec<_> = members.iter().filter_map(|name| object.shift_remove_entry(*name)).collect();
    known.into_iter().chain(object).collect()
}

/// Sends batches to one of these addresses until it is to stop.
pub(crate) fn send(seed: u64, addresses: &Mutex<Vec<String>>, stops: &AtomicBool, pause: Duration) -> Sent {
    let sent = Mutex::new(Sent::default());
    let numbers = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while !stops.load(Ordering::Relaxed) {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    let mut dice = Dice::new(seed * 1_000_000 + number);
                    let count = usize::try_from(1 + dice.below(BATCH as u64)).expect("few");
                    let events: Vec<(String, String)> = events(seed * 1_000_000 + number, count).collect();
                    deliver(&events, addresses, &mut dice, &sent);
                    std::thread::sleep(pause);
                }
            });
        }
    });
    sent.into_inner().expect("nobody panicked")
}

fn deliver(events: &[(String, String)], addresses: &Mutex<Vec<String>>, dice: &mut Dice, sent: &Mutex<Sent>) {
    let body = event_list(events.iter().map(|(_, event)| &**event));
    sent.lock().expect("nobody panicked").events.extend(events.iter().cloned());
    let mut pause = PAUSE;
    for _ in 0..TRIES {
        let address = {
            let addresses = addresses.lock().expect("nobody panicked");
            addresses[usize::try_from(dice.below(addresses.len() as u64)).expect("few")].clone()
        };
        let authorization = format!("Bearer {API}");
        let headers = [("Authorization", &*authorization), ("Content-Type", "application/json")];
        let answer = ask(&agent(), "POST", &format!("http://{address}/v1/records"), &headers, body.as_bytes());
        if let Ok(answer) = answer
            && answer.status / 100 == 2
        {
            let ids = events.iter().map(|(id, _)| id.clone()).collect();
            sent.lock().expect("nobody panicked").accepted.push((answer.json(), ids));
            return;
        }
        sent.lock().expect("nobody panicked").failed_tries += 1;
        std::thread::sleep(pause + pause * u32::try_from(dice.below(20)).expect("few") / 100);
        pause = pause.mul_f64(FACTOR);
    }
    sent.lock().expect("nobody panicked").dropped += 1;
}
