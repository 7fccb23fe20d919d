//! The component on subjects of a NATS server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::runtime::Runtime;

use super::broker::{GROUP, Handler, SUBSCRIPTION};
use super::{alerts_of_records, records};
use crate::support::nats::Nats;
use crate::support::service::PATIENCE;

/// Two hosts in one queue group, as wasmCloud's subscribe, give each record to one of them.
#[test]
#[ignore = "needs nats-server: ./test"]
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
