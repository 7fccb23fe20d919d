//! The server as a process sees it: requests and answers travel, and get lost.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, sleep};

use super::server::{MAX_PAYLOAD, Server, State, object_state};
use crate::jetstream::{
    Answer, Broker, Bucket, Entry, Message, Messages, ObjectState, Objects, Progress, Reply, StoredBatch,
};
use crate::storage::NotWritten;

/// The time after which a request without an answer fails.
const TIMEOUT: Duration = Duration::from_secs(5);

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

impl Connection {
    pub(super) fn new(server: Server, is_dead: Arc<dyn Fn() -> bool + Send + Sync>) -> Self {
        Self { server, is_dead }
    }

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
