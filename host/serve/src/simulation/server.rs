//! A NATS server that answers late, loses requests and answers, repeats and reorders, and forgets.
//!
//! Its rules are those of JetStream: a work queue delivers a message again `ack_wait` after its delivery unless it is
//! answered, keeps the id of a message for ten minutes, and takes one message on a subject whose expected sequence number
//! is 0. See "Consumer details" and "Model deep dive" in the documentation of NATS. A server that was killed hard may
//! hold a message that it never delivers again (see `work/orphans.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::dice::Dice;
use crate::jetstream::{Bucket, Entry, ObjectState, Objects, Progress, StoredBatch, header};
use crate::storage::NotWritten;

/// How long the server keeps the id of a message.
const KNOWN: Duration = Duration::from_mins(10);

/// Maximum number of bytes of a message, so small that some batches need an object.
pub(super) const MAX_PAYLOAD: usize = (4 << 10) + 200;

/// A server, which all replicas share.
#[derive(Clone)]
pub(super) struct Server(Arc<Mutex<State>>);

pub(super) struct State {
    pub(super) dice: Dice,
    pub(super) ack_wait: Duration,
    pub(super) is_up: bool,
    /// Whether requests and answers are lost now and then.
    pub(super) is_lossy: bool,
    pub(super) faults: u64,
    sequence: u64,
    pub(super) batches: BTreeMap<u64, Batch>,
    ids: BTreeMap<String, Instant>,
    /// The sequence number up to which batches were delivered.
    delivered: u64,
    /// All alerts, by subject.
    alerts: BTreeMap<String, Bytes>,
    dead: Vec<StoredBatch>,
    pub(super) objects: BTreeMap<(Objects, String), Option<Vec<u8>>>,
    pub(super) values: BTreeMap<(Bucket, String), (Option<Bytes>, Instant)>,
    /// The number of changes of packages and activation.
    pub(super) changes: u64,
    /// The number of times that the server came back empty.
    pub(super) wiped: u64,
    /// Wakes those that wait for a batch.
    pub(super) arrival: Arc<Notify>,
    /// The ids of the batches that it lost.
    lost: BTreeSet<String>,
}

/// A batch in the stream.
pub(super) struct Batch {
    pub(super) stored: StoredBatch,
    deliveries: u64,
    /// The time at which it is delivered next. `None` for an orphan.
    pub(super) due: Option<Instant>,
    /// Whether it was delivered, and its replica has time to answer.
    pub(super) is_in_flight: bool,
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

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub(super) fn progress(&self) -> Progress {
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
    pub(super) fn take(&mut self) -> Option<(StoredBatch, u64)> {
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

    pub(super) fn publish(&mut self, subject: &str, headers: HeaderMap, payload: Bytes) -> Result<bool, NotWritten> {
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

    pub(super) fn value(&self, bucket: Bucket, key: &str) -> Entry<Bytes> {
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

    pub(super) fn set_value(&mut self, bucket: Bucket, key: &str, value: Option<Bytes>) {
        self.values.insert((bucket, key.to_owned()), (value, Instant::now()));
        self.changes += u64::from(bucket == Bucket::Activation);
    }

    pub(super) fn object(&self, objects: Objects, name: &str) -> Entry<ObjectState> {
        match self.objects.get(&(objects, name.to_owned())) {
            Some(Some(bytes)) => Entry::There(object_state(name, bytes)),
            Some(None) => Entry::Removed,
            None => Entry::Unknown,
        }
    }
}

pub(super) fn object_state(name: &str, bytes: &[u8]) -> ObjectState {
    use base64::Engine as _;
    use sha2::Digest as _;
    let digest = base64::prelude::BASE64_URL_SAFE.encode(sha2::Sha256::digest(bytes));
    ObjectState { name: name.to_owned(), size: bytes.len() as u64, digest: Some(format!("SHA-256={digest}")) }
}
