//! What the service uses of a NATS server. A simulation has a server that forgets, repeats and answers late.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::storage::NotWritten;

/// A NATS server with the streams and stores of a service.
pub(crate) trait Broker: Send + Sync {
    /// Returns why the server cannot be used now, if it cannot.
    fn problem(&self) -> Option<String>;

    /// Returns the maximum number of bytes of a message.
    fn max_payload(&self) -> usize;

    /// Publishes a message. On success the server has it on its disk. Returns whether it was new.
    fn publish<'b>(
        &'b self,
        subject: &'b str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> BoxFuture<'b, Result<bool, NotWritten>>;

    /// Requests batches of the stream, at most this many. The stream of messages ends after this time.
    fn pull(&self, most: usize, wait: Duration) -> BoxFuture<'_, anyhow::Result<Messages>>;

    /// Returns the progress of all replicas in the stream of batches.
    fn progress(&self) -> BoxFuture<'_, anyhow::Result<Progress>>;

    /// Returns the first batch in the stream from this sequence number on, whether it is in flight or not.
    fn stored_batch(&self, from: u64) -> BoxFuture<'_, anyhow::Result<Option<StoredBatch>>>;

    /// Removes a batch from the stream.
    fn remove_batch(&self, sequence: u64) -> BoxFuture<'_, anyhow::Result<()>>;

    /// Stores an object.
    fn put_object<'b>(&'b self, objects: Objects, name: &'b str, bytes: &'b [u8]) -> BoxFuture<'b, anyhow::Result<()>>;

    /// Returns the state of an object.
    fn object<'b>(&'b self, objects: Objects, name: &'b str) -> BoxFuture<'b, anyhow::Result<Entry<ObjectState>>>;

    /// Returns the content of an object that exists.
    fn read_object<'b>(&'b self, objects: Objects, name: &'b str) -> BoxFuture<'b, anyhow::Result<Vec<u8>>>;

    /// Removes an object.
    fn remove_object<'b>(&'b self, objects: Objects, name: &'b str) -> BoxFuture<'b, anyhow::Result<()>>;

    /// Returns the objects that exist.
    fn objects(&self, objects: Objects) -> BoxFuture<'_, anyhow::Result<Vec<ObjectState>>>;

    /// Returns the value of a key.
    fn value<'b>(&'b self, bucket: Bucket, key: &'b str) -> BoxFuture<'b, anyhow::Result<Entry<Bytes>>>;

    /// Sets the value of a key.
    fn set_value<'b>(&'b self, bucket: Bucket, key: &'b str, value: Bytes) -> BoxFuture<'b, anyhow::Result<()>>;

    /// Sets the value of a key that has none. Returns whether it had none.
    fn create_value<'b>(&'b self, bucket: Bucket, key: &'b str, value: Bytes) -> BoxFuture<'b, anyhow::Result<bool>>;

    /// Removes the value of a key.
    fn remove_value<'b>(&'b self, bucket: Bucket, key: &'b str) -> BoxFuture<'b, anyhow::Result<()>>;

    /// Returns all keys that have values.
    fn keys(&self, bucket: Bucket) -> BoxFuture<'_, anyhow::Result<Vec<String>>>;

    /// Returns a text that differs after each change of packages or activation.
    fn published_up_to(&self) -> BoxFuture<'_, anyhow::Result<String>>;
}

/// Messages that arrive.
pub(crate) type Messages = BoxStream<'static, anyhow::Result<Message>>;

/// A batch as a message of the stream. The server delivers it again unless it is answered in time.
pub(crate) struct Message {
    pub(crate) batch: StoredBatch,
    /// The number of times that the server has delivered it, from 1.
    pub(crate) delivered: u64,
    pub(crate) reply: Box<dyn Reply>,
}

/// A batch in the stream.
#[derive(Clone, Debug)]
pub(crate) struct StoredBatch {
    pub(crate) sequence: u64,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// The way to answer a message.
pub(crate) trait Reply: Send + Sync {
    /// Sends an answer. The server does not confirm it.
    fn send(&self, answer: Answer) -> BoxFuture<'_, anyhow::Result<()>>;
}

/// An answer to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is done, and leaves the stream.
    Done,
    /// It is to be delivered again, after this time.
    Again(Duration),
    /// It needs more time.
    InProgress,
}

/// The progress of all replicas in the stream of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The number of batches that were never delivered.
    pub(crate) waiting: u64,
    /// The number of batches that were delivered and not answered.
    pub(crate) in_flight: u64,
    /// The sequence number up to which batches were delivered.
    pub(crate) delivered: u64,
    /// The sequence number up to which all batches are done.
    pub(crate) done: u64,
}

/// A store of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Objects {
    /// Batches that are too large for a message.
    Batches,
    /// Packages of the tenants.
    Packages,
}

/// A bucket of values by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bucket {
    /// The text that replaces the config's `[activation]`, by tenant.
    Activation,
    /// What each replica runs. A value expires when its replica is gone.
    Replicas,
    /// The number of times that judging a batch began and did not end, by the batch's sequence number.
    Attempts,
    /// The replica that does a task which one replica does at a time. A value expires, unless it is renewed.
    Leases,
}

/// The state of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectState {
    pub(crate) name: String,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// Its SHA-256 in the form of the server.
    pub(crate) digest: Option<String>,
}

/// What a server knows of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry<T> {
    There(T),
    /// It was there, and somebody removed it.
    Removed,
    /// The server knows nothing of it: it never was there, or the server has lost it.
    Unknown,
}
