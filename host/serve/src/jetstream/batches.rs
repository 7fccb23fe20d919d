//! Batches in the stream, in objects and in the dead letters.

use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use bytes::Bytes;

use super::broker::{Bucket, Entry, ObjectState, Objects, StoredBatch};
use super::{JetStream, header};

/// Bytes reserved for the headers and subject of a message.
const OVERHEAD: usize = 4 << 10;

/// Returns the value of a header.
pub(crate) fn value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(async_nats::HeaderValue::as_str)
}

impl JetStream {
    /// Stores a batch in a message. A batch that is too large goes into an object, which the message names.
    pub(crate) async fn store(&self, id: &str, mut headers: HeaderMap, packed: Vec<u8>) -> anyhow::Result<()> {
        let most = self.broker.max_payload().saturating_sub(OVERHEAD);
        let payload = if packed.len() <= most {
            Bytes::from(packed)
        } else {
            self.broker.put_object(Objects::Batches, id, &packed).await?;
            headers.insert(header::OBJECT, id);
            Bytes::new()
        };
        self.broker.publish(&self.subject("records"), headers, payload).await?;
        Ok(())
    }

    /// Returns the state of the object of a batch.
    pub(crate) async fn object(&self, name: &str) -> anyhow::Result<Entry<ObjectState>> {
        self.broker.object(Objects::Batches, name).await
    }

    /// Returns the content of the object of a batch.
    pub(crate) async fn read_object(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        self.broker.read_object(Objects::Batches, name).await
    }

    /// Removes the object of a batch, if it has one. An object that cannot be removed expires with its age.
    pub(crate) async fn remove_object(&self, batch: &StoredBatch) {
        if let Some(object) = value(&batch.headers, header::OBJECT) {
            let _ = self.broker.remove_object(Objects::Batches, object).await;
        }
    }

    /// Copies a batch to the dead letters, with the reason.
    pub(crate) async fn dead_letter(&self, batch: &StoredBatch, reason: &str) -> anyhow::Result<()> {
        let mut headers = HeaderMap::new();
        // Not those of a publisher for the server, such as the stream that it expects.
        for name in [header::TENANT, header::CLIENT, header::BATCH, header::OBJECT] {
            if let Some(value) = batch.headers.get(name) {
                headers.insert(name, value.clone());
            }
        }
        headers.insert(header::REASON, one_line(reason));
        // The message id makes sure that a message becomes one dead letter, even if several replicas try.
        let id = value(&batch.headers, header::BATCH).unwrap_or_default();
        headers.insert(NATS_MESSAGE_ID, format!("dead-{}-{id}", batch.sequence));
        self.broker.publish(&self.subject("dead"), headers, batch.payload.clone()).await?;
        Ok(())
    }

    /// Returns how often judging a batch began and did not end.
    pub(crate) async fn attempts(&self, sequence: u64) -> anyhow::Result<u32> {
        Ok(match self.broker.value(Bucket::Attempts, &sequence.to_string()).await? {
            Entry::There(count) => std::str::from_utf8(&count).ok().and_then(|count| count.parse().ok()).unwrap_or(0),
            Entry::Removed | Entry::Unknown => 0,
        })
    }

    /// Sets how often judging a batch began and did not end.
    pub(crate) async fn set_attempts(&self, sequence: u64, attempts: u32) -> anyhow::Result<()> {
        let key = sequence.to_string();
        match attempts {
            0 => self.broker.remove_value(Bucket::Attempts, &key).await,
            attempts => self.broker.set_value(Bucket::Attempts, &key, attempts.to_string().into()).await,
        }
    }
}

/// Returns a text as one line for a header, at most 1,000 characters long.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1_000).collect()
}
