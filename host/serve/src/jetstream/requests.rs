//! The requests of a service to a NATS server.

use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use async_nats::connection::State;
use async_nats::header::{HeaderMap, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE};
use async_nats::jetstream::AckKind;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::kv::{CreateErrorKind, Operation};
use async_nats::jetstream::object_store::{InfoErrorKind, ObjectInfo};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::broker::{
    Answer, Broker, Bucket, Entry, Message, Messages, ObjectState, Objects, Progress, Reply, StoredBatch,
};
use super::nats::{ANSWER, Nats};
use crate::storage::NotWritten;

/// Maximum time for reading an object, or a list of names. The library waits for ever for an entry that expires or is
/// replaced while it reads the list.
const READ: Duration = Duration::from_secs(30);

/// Maximum time after the end of a request for messages. The library's own is some seconds longer, which a server that
/// was killed would cost.
const LATE: Duration = Duration::from_millis(500);

/// The default limit of a server for the bytes of a message.
const DEFAULT_MAX_PAYLOAD: usize = 1 << 20;

impl Nats {
    async fn publish(&self, subject: &str, headers: HeaderMap, payload: Bytes) -> Result<bool, NotWritten> {
        let is_only = headers.get(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE).is_some();
        let publishing = async { self.context.publish_with_headers(subject.to_owned(), headers, payload).await?.await };
        match publishing.await {
            Ok(acknowledged) => Ok(!acknowledged.duplicate),
            Err(error) if is_only && error.kind() == PublishErrorKind::WrongLastSequence => Ok(false),
            Err(error) => Err(NotWritten(format!("jetstream: {error}"))),
        }
    }

    async fn pull(&self, most: usize, wait: Duration) -> anyhow::Result<Messages> {
        let consumer = self.consumer().await?;
        let messages = match consumer.batch().max_messages(most).expires(wait).messages().await {
            Ok(messages) => messages,
            Err(error) => {
                self.forget_consumer();
                return Err(anyhow!(error));
            }
        };
        let end = Box::pin(tokio::time::sleep(wait + LATE));
        let messages = messages.map(|message| message.map_err(|error| anyhow!(error)).map(received));
        Ok(messages.take_until(end).boxed())
    }

    async fn progress(&self) -> anyhow::Result<Progress> {
        let mut consumer = self.consumer().await?;
        match consumer.info().await {
            Ok(info) => Ok(Progress {
                waiting: info.num_pending,
                in_flight: info.num_ack_pending as u64,
                delivered: info.delivered.stream_sequence,
                done: info.ack_floor.stream_sequence,
            }),
            Err(error) => {
                self.forget_consumer();
                Err(anyhow!(error))
            }
        }
    }

    async fn stored_batch(&self, from: u64) -> anyhow::Result<Option<StoredBatch>> {
        match self.batches().await?.get_first_raw_message_by_subject(">", from).await {
            Ok(message) => {
                Ok(Some(StoredBatch { sequence: message.sequence, headers: message.headers, payload: message.payload }))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(anyhow!(error)),
        }
    }

    async fn object(&self, objects: Objects, name: &str) -> anyhow::Result<Entry<ObjectState>> {
        match self.store(objects).await?.info(name).await {
            Ok(info) if info.deleted => Ok(Entry::Removed),
            Ok(info) => Ok(Entry::There(object_state(info))),
            Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(Entry::Unknown),
            Err(error) => Err(anyhow!(error).context(format!("object {name}"))),
        }
    }

    async fn read_object(&self, objects: Objects, name: &str) -> anyhow::Result<Vec<u8>> {
        let mut object = self.store(objects).await?.get(name).await.with_context(|| format!("object {name}"))?;
        let mut bytes = Vec::new();
        in_time(object.read_to_end(&mut bytes)).await?.with_context(|| format!("object {name}"))?;
        Ok(bytes)
    }

    async fn value(&self, bucket: Bucket, key: &str) -> anyhow::Result<Entry<Bytes>> {
        Ok(match self.bucket(bucket).await?.entry(key).await? {
            None => Entry::Unknown,
            Some(entry) if entry.operation == Operation::Put => Entry::There(entry.value),
            Some(_) => Entry::Removed,
        })
    }

    async fn published_up_to(&self) -> anyhow::Result<String> {
        self.store(Objects::Packages).await?;
        self.bucket(Bucket::Activation).await?;
        let mut versions = Vec::new();
        for stream in [format!("OBJ_{}", self.name("packages")), format!("KV_{}", self.name("activation"))] {
            let stream = self.context.get_stream(stream).await.map_err(|error| anyhow!(error))?;
            let info = stream.cached_info();
            // The time tells a stream from another one that was made after the first was lost.
            versions.push(format!("{}@{}", info.state.last_sequence, info.created.unix_timestamp_nanos()));
        }
        Ok(versions.join(" "))
    }
}

/// What is said of a list that does not end.
const LATE_LIST: &str = "the server's answer is not complete";

/// Returns the result of reading, if it comes in time.
async fn in_time<T>(reading: impl Future<Output = T>) -> anyhow::Result<T> {
    timeout(READ, reading).await.map_err(|_| anyhow!(LATE_LIST))
}

/// Returns a message as the service sees it.
fn received(message: async_nats::jetstream::Message) -> Message {
    let (delivered, sequence) = message.info().map_or((1, 0), |info| (info.delivered, info.stream_sequence));
    let batch = StoredBatch {
        sequence,
        headers: message.headers.clone().unwrap_or_default(),
        payload: message.payload.clone(),
    };
    Message { batch, delivered: delivered.max(1).unsigned_abs(), reply: Box::new(message) }
}

impl Reply for async_nats::jetstream::Message {
    fn send(&self, answer: Answer) -> BoxFuture<'_, anyhow::Result<()>> {
        let kind = match answer {
            Answer::Done => AckKind::Ack,
            Answer::Again(pause) => AckKind::Nak((!pause.is_zero()).then_some(pause)),
            Answer::InProgress => AckKind::Progress,
        };
        async move { self.ack_with(kind).await.map_err(|error| anyhow!(error)) }.boxed()
    }
}

fn object_state(info: ObjectInfo) -> ObjectState {
    ObjectState { name: info.name, size: info.size as u64, digest: info.digest }
}

impl Broker for Nats {
    fn problem(&self) -> Option<String> {
        match self.client.connection_state() {
            State::Connected => self.problem.lock().unwrap_or_else(PoisonError::into_inner).0.clone(),
            State::Pending | State::Disconnected => Some(format!("{} cannot be reached", self.settings.url)),
        }
    }

    fn max_payload(&self) -> usize {
        // 0 means that the server has not been reached yet.
        match self.client.server_info().max_payload {
            0 => DEFAULT_MAX_PAYLOAD,
            most => most,
        }
    }

    fn publish<'b>(
        &'b self,
        subject: &'b str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> BoxFuture<'b, Result<bool, NotWritten>> {
        self.publish(subject, headers, payload).boxed()
    }

    fn pull(&self, most: usize, wait: Duration) -> BoxFuture<'_, anyhow::Result<Messages>> {
        self.pull(most, wait).boxed()
    }

    fn progress(&self) -> BoxFuture<'_, anyhow::Result<Progress>> {
        self.progress().boxed()
    }

    fn stored_batch(&self, from: u64) -> BoxFuture<'_, anyhow::Result<Option<StoredBatch>>> {
        self.stored_batch(from).boxed()
    }

    fn remove_batch(&self, sequence: u64) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            self.batches().await?.delete_message(sequence).await.map_err(|error| anyhow!(error))?;
            Ok(())
        }
        .boxed()
    }

    fn put_object<'b>(&'b self, objects: Objects, name: &'b str, bytes: &'b [u8]) -> BoxFuture<'b, anyhow::Result<()>> {
        async move {
            self.store(objects).await?.put(name, &mut &*bytes).await?;
            Ok(())
        }
        .boxed()
    }

    fn object<'b>(&'b self, objects: Objects, name: &'b str) -> BoxFuture<'b, anyhow::Result<Entry<ObjectState>>> {
        self.object(objects, name).boxed()
    }

    fn read_object<'b>(&'b self, objects: Objects, name: &'b str) -> BoxFuture<'b, anyhow::Result<Vec<u8>>> {
        self.read_object(objects, name).boxed()
    }

    fn remove_object<'b>(&'b self, objects: Objects, name: &'b str) -> BoxFuture<'b, anyhow::Result<()>> {
        async move { Ok(self.store(objects).await?.delete(name).await?) }.boxed()
    }

    fn objects(&self, objects: Objects) -> BoxFuture<'_, anyhow::Result<Vec<ObjectState>>> {
        async move {
            let list = self.store(objects).await?.list().await?;
            in_time(list.map_ok(object_state).try_collect()).await?.map_err(|error| anyhow!(error))
        }
        .boxed()
    }

    fn value<'b>(&'b self, bucket: Bucket, key: &'b str) -> BoxFuture<'b, anyhow::Result<Entry<Bytes>>> {
        self.value(bucket, key).boxed()
    }

    fn set_value<'b>(&'b self, bucket: Bucket, key: &'b str, value: Bytes) -> BoxFuture<'b, anyhow::Result<()>> {
        async move {
            self.bucket(bucket).await?.put(key, value).await?;
            Ok(())
        }
        .boxed()
    }

    fn create_value<'b>(&'b self, bucket: Bucket, key: &'b str, value: Bytes) -> BoxFuture<'b, anyhow::Result<bool>> {
        async move {
            match self.bucket(bucket).await?.create(key, value).await {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(anyhow!(error)),
            }
        }
        .boxed()
    }

    fn remove_value<'b>(&'b self, bucket: Bucket, key: &'b str) -> BoxFuture<'b, anyhow::Result<()>> {
        async move { Ok(self.bucket(bucket).await?.delete(key).await?) }.boxed()
    }

    fn keys(&self, bucket: Bucket) -> BoxFuture<'_, anyhow::Result<Vec<String>>> {
        async move {
            let keys = self.bucket(bucket).await?.keys().await?;
            let mut keys: Vec<String> = timeout(ANSWER, keys.try_collect()).await.map_err(|_| anyhow!(LATE_LIST))??;
            keys.sort();
            Ok(keys)
        }
        .boxed()
    }

    fn published_up_to(&self) -> BoxFuture<'_, anyhow::Result<String>> {
        self.published_up_to().boxed()
    }
}
