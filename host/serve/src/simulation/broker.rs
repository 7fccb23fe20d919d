//! A NATS server that answers late, loses requests and answers, repeats and reorders, and forgets.
//!
//! Its rules are those of JetStream: a work queue delivers a message again `ack_wait` after its delivery unless it is
//! answered, keeps the id of a message for ten minutes, and takes one message on a subject whose expected sequence number
//! is 0. See "Consumer details" and "Model deep dive" in the documentation of NATS. A server that was killed hard may
//! hold a message that it never delivers again (see `work/orphans.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::dice::Dice;
use crate::jetstream::{
    Answer, Broker, Bucket, Entry, Message, Messages, ObjectState, Objects, Progress, Reply, StoredBatch, header,
};
use crate::storage::NotWritten;

/// How long the server keeps the id of a message.
const KNOWN: Duration = Duration::from_mins(10);

/// The time after which a request without an answer fails.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of bytes of a message, so small that some batches need an object.
const MAX_PAYLOAD: usize = (4 << 10) + 200;

/// A server, which all replicas share.
#[derive(Clone)]
pub(super) struct Server(Arc<Mutex<State>>);

struct State {
    dice: Dice,
    ack_wait: Duration,
    is_up: bool,
    /// Whether requests and answers are lost now and then.
    is_lossy: bool,
    faults: u64,
    sequence: u64,
    batches: BTreeMap<u64, Batch>,
    ids: BTreeMap<String, Instant>,
    /// The sequence number up to which batches were delivered.
    delivered: u64,
    /// All alerts, by subject.
    alerts: BTreeMap<String, Bytes>,
    dead: Vec<StoredBatch>,
    objects: BTreeMap<(Objects, String), Option<Vec<u8>>>,
    values: BTreeMap<(Bucket, String), (Option<Bytes>, Instant)>,
    /// The number of changes of packages and activation.
    changes: u64,
    /// The number of times that the server came back empty.
    wiped: u64,
    /// Wakes those that wait for a batch.
    arrival: Arc<Notify>,
    /// The ids of the batches that it lost.
    lost: BTreeSet<String>,
}

/// A batch in the stream.
struct Batch {
    stored: StoredBatch,
    deliveries: u64,
    /// The time at which it is delivered next. `None` for an orphan.
    due: Option<Instant>,
    /// Whether it was delivered, and its replica has time to answer.
    is_in_flight: bool,
}

/// The server as a process sees it.
pub(super) struct Connection {
    server: Server,
    /// Whether the process is dead.
    is_dead: Arc<dyn Fn() -> bool + Send + Sync>,
}

struct Delivery {
    connection: Connection,
    sequence: u64,
    /// The number of times that the server had lost its data.
    wiped: u64,
}

impl Server {
    pub(super) fn new(dice: Dice, ack_wait: Duration) -> Self {
        Self(Arc::new(Mutex::new(State {
            dice,
            ack_wait,
            is_up: true,
            is_lossy: false,
            faults: 0,
            sequence: 0,
            batches: BTreeMap::new(),
            ids: BTreeMap::new(),
            delivered: 0,
            alerts: BTreeMap::new(),
            dead: Vec::new(),
            objects: BTreeMap::new(),
            values: BTreeMap::new(),
            changes: 0,
            wiped: 0,
            arrival: Arc::default(),
            lost: BTreeSet::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn connect(&self, is_dead: Arc<dyn Fn() -> bool + Send + Sync>) -> Connection {
        Connection { server: self.clone(), is_dead }
    }

    pub(super) fn set_up(&self, is_up: bool) {
        self.lock().is_up = is_up;
    }

    pub(super) fn set_lossy(&self, is_lossy: bool) {
        self.lock().is_lossy = is_lossy;
    }

    /// Restarts the server hard: batches in flight are delivered again, and some never, although it takes them for
    /// delivered.
    pub(super) fn restart(&self) {
        let mut state = self.lock();
        state.faults += 1;
        let dice = state.dice.clone();
        for batch in state.batches.values_mut().filter(|batch| batch.is_in_flight) {
            batch.is_in_flight = false;
            batch.due = (!dice.once_in(4)).then(Instant::now);
        }
        state.arrival.notify_waiters();
    }

    /// Lets the server come back without its data.
    pub(super) fn wipe(&self) {
        let mut state = self.lock();
        state.faults += 1;
        state.wiped += 1;
        let of_stream = state.batches.values().map(|batch| &batch.stored);
        let of_objects = state.objects.keys().filter(|(of, _)| *of == Objects::Batches).map(|(_, name)| name.clone());
        let lost: Vec<String> = of_stream.chain(&state.dead).map(batch_id).chain(of_objects).collect();
        state.lost.extend(lost);
        (state.sequence, state.delivered, state.changes) = (0, 0, 0);
        state.batches.clear();
        state.ids.clear();
        state.alerts.clear();
        state.dead.clear();
        state.objects.clear();
        state.values.clear();
    }

    pub(super) fn faults(&self) -> u64 {
        self.lock().faults
    }

    /// Returns the ids of the batches that it lost.
    pub(super) fn lost(&self) -> BTreeSet<String> {
        self.lock().lost.clone()
    }

    pub(super) fn is_wiped(&self) -> bool {
        self.lock().wiped > 0
    }

    /// Returns the ids of the batches in the stream.
    pub(super) fn waiting(&self) -> Vec<String> {
        self.lock().batches.values().map(|batch| batch_id(&batch.stored)).collect()
    }

    /// Returns the ids of batches that are dead letters, each with the reason.
    pub(super) fn dead_letters(&self) -> Vec<(String, String)> {
        let reason = |batch: &StoredBatch| batch.headers.get(header::REASON).map(ToString::to_string);
        self.lock().dead.iter().map(|batch| (batch_id(batch), reason(batch).unwrap_or_default())).collect()
    }

    /// Returns the subjects of all alerts.
    pub(super) fn alerts(&self) -> Vec<String> {
        self.lock().alerts.keys().cloned().collect()
    }

    /// Publishes a package, as an operator does.
    pub(super) fn publish_package(&self, name: &str, bytes: &[u8]) {
        let mut state = self.lock();
        state.objects.insert((Objects::Packages, name.to_owned()), Some(bytes.to_vec()));
        state.changes += 1;
    }
}

fn batch_id(batch: &StoredBatch) -> String {
    batch.headers.get(header::BATCH).map(ToString::to_string).unwrap_or_default()
}

impl State {
    /// Returns the progress, as the consumer knows it.
    fn progress(&self) -> Progress {
        let open = |batch: &&Batch| batch.stored.sequence <= self.delivered && batch.due.is_some();
        let first_open = self.batches.values().find(open).map(|batch| batch.stored.sequence);
        Progress {
            waiting: self.batches.range(self.delivered + 1..).count() as u64,
            in_flight: self.batches.values().filter(open).count() as u64,
            delivered: self.delivered,
            done: first_open.map_or(self.delivered, |first| first - 1),
        }
    }

    /// Takes the next batch to deliver.
    fn take(&mut self) -> Option<(StoredBatch, u64)> {
        let now = Instant::now();
        let is_due = |batch: &&mut Batch| batch.due.is_some_and(|due| due <= now);
        // Sometimes a later one overtakes.
        let skipped = if self.is_lossy && self.dice.once_in(4) { self.dice.index(4) } else { 0 };
        let due = self.batches.values_mut().filter(is_due).count();
        let batch = self.batches.values_mut().filter(is_due).nth(skipped.min(due.saturating_sub(1)))?;
        batch.deliveries += 1;
        batch.is_in_flight = true;
        batch.due = Some(now + self.ack_wait);
        let taken = (batch.stored.clone(), batch.deliveries);
        self.delivered = self.delivered.max(taken.0.sequence);
        Some(taken)
    }

    fn publish(&mut self, subject: &str, headers: HeaderMap, payload: Bytes) -> Result<bool, NotWritten> {
        if payload.len() > MAX_PAYLOAD {
            return Err(NotWritten("maximum payload exceeded".to_owned()));
        }
        let id = headers.get(NATS_MESSAGE_ID).map(ToString::to_string).unwrap_or_default();
        let now = Instant::now();
        let key = format!("{} {id}", subject.split('.').take(2).collect::<Vec<_>>().join("."));
        if self.ids.get(&key).is_some_and(|since| now.duration_since(*since) < KNOWN) {
            return Ok(false);
        }
        let is_only = headers.get(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE).is_some();
        if is_only && self.alerts.contains_key(subject) {
            return Ok(false);
        }
        self.ids.insert(key, now);
        self.sequence += 1;
        let stored = StoredBatch { sequence: self.sequence, headers, payload };
        match subject.split('.').nth(1) {
            Some("records") => {
                let batch = Batch { stored, deliveries: 0, due: Some(now), is_in_flight: false };
                self.batches.insert(self.sequence, batch);
                self.arrival.notify_waiters();
            }
            Some("alerts") => drop(self.alerts.insert(subject.to_owned(), stored.payload)),
            _ => self.dead.push(stored),
        }
        Ok(true)
    }

    fn value(&self, bucket: Bucket, key: &str) -> Entry<Bytes> {
        let life = match bucket {
            Bucket::Replicas => Duration::from_secs(10),
            Bucket::Leases => Duration::from_secs(30),
            Bucket::Activation | Bucket::Attempts => Duration::MAX,
        };
        match self.values.get(&(bucket, key.to_owned())) {
            Some((_, since)) if since.elapsed() >= life => Entry::Unknown,
            Some((Some(value), _)) => Entry::There(value.clone()),
            Some((None, _)) => Entry::Removed,
            None => Entry::Unknown,
        }
    }

    fn set_value(&mut self, bucket: Bucket, key: &str, value: Option<Bytes>) {
        self.values.insert((bucket, key.to_owned()), (value, Instant::now()));
        self.changes += u64::from(bucket == Bucket::Activation);
    }

    fn object(&self, objects: Objects, name: &str) -> Entry<ObjectState> {
        match self.objects.get(&(objects, name.to_owned())) {
            Some(Some(bytes)) => Entry::There(object_state(name, bytes)),
            Some(None) => Entry::Removed,
            None => Entry::Unknown,
        }
    }
}

fn object_state(name: &str, bytes: &[u8]) -> ObjectState {
    use base64::Engine as _;
    use sha2::Digest as _;
    let digest = base64::prelude::BASE64_URL_SAFE.encode(sha2::Sha256::digest(bytes));
    ObjectState { name: name.to_owned(), size: bytes.len() as u64, digest: Some(format!("SHA-256={digest}")) }
}

impl Connection {
    /// Sends a request, which the server handles some time later, and waits for the answer.
    async fn request<T>(&self, handle: impl FnOnce(&mut State) -> T) -> anyhow::Result<T> {
        self.travel().await?;
        let answer = handle(&mut self.server.lock());
        self.travel().await?;
        Ok(answer)
    }

    /// Waits until a batch may be due, but not longer than this.
    async fn wait(&self, end: Instant) {
        let (next, arrival) = {
            let state = self.server.lock();
            let next = state.batches.values().filter_map(|batch| batch.due).min();
            (next.filter(|next| *next > Instant::now()).unwrap_or(end), Arc::clone(&state.arrival))
        };
        let _ = tokio::time::timeout_at(next.min(end), arrival.notified()).await;
    }

    /// Waits until a message is on the other side, if it gets there.
    async fn travel(&self) -> anyhow::Result<()> {
        let (time, is_lost, is_up) = {
            let mut state = self.server.lock();
            let dice = state.dice.clone();
            let is_lost = state.is_lossy && dice.once_in(20);
            state.faults += u64::from(is_lost);
            let slow = state.is_lossy && dice.once_in(10);
            let longest = if slow { Duration::from_secs(4) } else { Duration::from_millis(20) };
            (dice.up_to(longest), is_lost, state.is_up)
        };
        if !is_up || is_lost {
            sleep(TIMEOUT).await;
            return Err(anyhow!("the server does not answer"));
        }
        sleep(time).await;
        if (self.is_dead)() {
            // Nothing of a dead process gets out.
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    fn clone(&self) -> Self {
        Self { server: self.server.clone(), is_dead: Arc::clone(&self.is_dead) }
    }
}

impl Reply for Delivery {
    fn send(&self, answer: Answer) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            // A client that sends an answer to a message does not wait for anything.
            if self.connection.travel().await.is_err() {
                return Ok(());
            }
            let mut state = self.connection.server.lock();
            if state.wiped != self.wiped {
                // An empty server knows nothing of earlier deliveries.
                return Ok(());
            }
            let ack_wait = state.ack_wait;
            if answer == Answer::Done {
                state.batches.remove(&self.sequence);
            } else if let Some(batch) = state.batches.get_mut(&self.sequence).filter(|batch| batch.due.is_some()) {
                let (pause, is_in_flight) = match answer {
                    Answer::Again(pause) => (pause, false),
                    _ => (ack_wait, true),
                };
                batch.due = Some(Instant::now() + pause);
                batch.is_in_flight = is_in_flight;
                state.arrival.notify_waiters();
            }
            Ok(())
        }
        .boxed()
    }
}

impl Broker for Connection {
    fn problem(&self) -> Option<String> {
        (!self.server.lock().is_up).then(|| "the server cannot be reached".to_owned())
    }

    fn max_payload(&self) -> usize {
        MAX_PAYLOAD
    }

    fn publish<'b>(
        &'b self,
        subject: &'b str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> BoxFuture<'b, Result<bool, NotWritten>> {
        async move {
            let published = self.request(|state| state.publish(subject, headers, payload)).await;
            published.unwrap_or_else(|error| Err(NotWritten(error.to_string())))
        }
        .boxed()
    }

    fn pull(&self, most: usize, wait: Duration) -> BoxFuture<'_, anyhow::Result<Messages>> {
        let connection = self.clone();
        async move {
            connection.travel().await?;
            let end = Instant::now() + wait;
            let next = move |(connection, left): (Self, usize)| async move {
                while left > 0 && Instant::now() < end {
                    let taken = {
                        let mut state = connection.server.lock();
                        let taken = if state.is_up { state.take() } else { None };
                        (taken, state.wiped)
                    };
                    let (Some((batch, delivered)), wiped) = taken else {
                        connection.wait(end).await;
                        continue;
                    };
                    // The server has delivered it, though it may not get here.
                    if connection.travel().await.is_err() {
                        continue;
                    }
                    let (connection_of_reply, sequence) = (connection.clone(), batch.sequence);
                    let reply = Delivery { connection: connection_of_reply, sequence, wiped };
                    let message = Message { batch, delivered, reply: Box::new(reply) };
                    return Some((Ok(message), (connection, left - 1)));
                }
                None
            };
            Ok(futures_util::stream::unfold((connection, most), next).boxed())
        }
        .boxed()
    }

    fn progress(&self) -> BoxFuture<'_, anyhow::Result<Progress>> {
        self.request(|state| state.progress()).boxed()
    }

    fn stored_batch(&self, from: u64) -> BoxFuture<'_, anyhow::Result<Option<StoredBatch>>> {
        self.request(move |state| state.batches.range(from..).next().map(|(_, batch)| batch.stored.clone())).boxed()
    }

    fn remove_batch(&self, sequence: u64) -> BoxFuture<'_, anyhow::Result<()>> {
        self.request(move |state| drop(state.batches.remove(&sequence))).boxed()
    }

    fn put_object<'b>(&'b self, objects: Objects, name: &'b str, bytes: &'b [u8]) -> BoxFuture<'b, anyhow::Result<()>> {
        self.request(move |state| {
            state.objects.insert((objects, name.to_owned()), Some(bytes.to_vec()));
        })
        .boxed()
    }

    fn object<'b>(&'b self, objects: Objects, name: &'b str) -> BoxFuture<'b, anyhow::Result<Entry<ObjectState>>> {
        self.request(move |state| state.object(objects, name)).boxed()
    }

    fn read_object<'b>(&'b self, objects: Objects, name: &'b str) -> BoxFuture<'b, anyhow::Result<Vec<u8>>> {
        async move {
            let read = self.request(|state| state.objects.get(&(objects, name.to_owned())).cloned().flatten()).await?;
            read.ok_or_else(|| anyhow!("object {name}: not found"))
        }
        .boxed()
    }

    fn remove_object<'b>(&'b self, objects: Objects, name: &'b str) -> BoxFuture<'b, anyhow::Result<()>> {
        self.request(move |state| {
            if let Some(bytes) = state.objects.get_mut(&(objects, name.to_owned())) {
                *bytes = None;
            }
        })
        .boxed()
    }

    fn objects(&self, objects: Objects) -> BoxFuture<'_, anyhow::Result<Vec<ObjectState>>> {
        self.request(move |state| {
            let of = state.objects.iter().filter(|((of, _), _)| *of == objects);
            of.filter_map(|((_, name), bytes)| Some(object_state(name, bytes.as_ref()?))).collect()
        })
        .boxed()
    }

    fn value<'b>(&'b self, bucket: Bucket, key: &'b str) -> BoxFuture<'b, anyhow::Result<Entry<Bytes>>> {
        self.request(move |state| state.value(bucket, key)).boxed()
    }

    fn set_value<'b>(&'b self, bucket: Bucket, key: &'b str, value: Bytes) -> BoxFuture<'b, anyhow::Result<()>> {
        self.request(move |state| state.set_value(bucket, key, Some(value))).boxed()
    }

    fn create_value<'b>(&'b self, bucket: Bucket, key: &'b str, value: Bytes) -> BoxFuture<'b, anyhow::Result<bool>> {
        self.request(move |state| {
            let is_new = !matches!(state.value(bucket, key), Entry::There(_));
            if is_new {
                state.set_value(bucket, key, Some(value));
            }
            is_new
        })
        .boxed()
    }

    fn remove_value<'b>(&'b self, bucket: Bucket, key: &'b str) -> BoxFuture<'b, anyhow::Result<()>> {
        self.request(move |state| state.set_value(bucket, key, None)).boxed()
    }

    fn keys(&self, bucket: Bucket) -> BoxFuture<'_, anyhow::Result<Vec<String>>> {
        self.request(move |state| {
            let keys: Vec<String> =
                state.values.keys().filter(|(of, _)| *of == bucket).map(|(_, key)| key.clone()).collect();
            keys.into_iter().filter(|key| matches!(state.value(bucket, key), Entry::There(_))).collect()
        })
        .boxed()
    }

    fn published_up_to(&self) -> BoxFuture<'_, anyhow::Result<String>> {
        self.request(|state| format!("{} {}", state.wiped, state.changes)).boxed()
    }
}
