//! Batches in the stream, in objects and in the dead letters.

use anyhow::{Context as _, anyhow};
use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::object_store::GetErrorKind;
use async_nats::jetstream::stream::Stream;
use bytes::Bytes;
use tokio::io::AsyncReadExt as _;

use super::{JetStream, header};

/// The durable consumer that all replicas share.
const CONSUMER: &str = "judges";

/// The default limit of a server for the bytes of a message.
const DEFAULT_MAX_PAYLOAD: usize = 1 << 20;

/// Bytes reserved for the headers and subject of a message.
const OVERHEAD: usize = 4 << 10;

/// Returns the value of a header.
pub(crate) fn value<'h>(headers: Option<&'h HeaderMap>, name: &str) -> Option<&'h str> {
    headers?.get(name).map(async_nats::HeaderValue::as_str)
}

impl JetStream {
    /// Returns the stream of batches.
    pub(crate) async fn batches(&self) -> anyhow::Result<Stream> {
        self.context.get_stream(self.name("records")).await.map_err(|error| anyhow!(error))
    }

    /// Returns the consumer that all replicas share.
    pub(crate) async fn consumer(&self) -> anyhow::Result<PullConsumer> {
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.settings.ack_wait,
            // After `attempts`, a replica makes the batch a dead letter.
            max_deliver: -1,
            max_ack_pending: 10_000,
            ..pull::Config::default()
        };
        let stream = self.batches().await?;
        stream.get_or_create_consumer(CONSUMER, config).await.map_err(|error| anyhow!(error))
    }

    /// Stores a batch in a message. A batch that is too large goes into an object, which the message names.
    pub(crate) async fn store(&self, id: &str, mut headers: HeaderMap, packed: Vec<u8>) -> anyhow::Result<()> {
        // 0 means that the server has not been reached yet.
        let most = match self.client.server_info().max_payload {
            0 => DEFAULT_MAX_PAYLOAD,
            most => most,
        };
        let most = most.saturating_sub(OVERHEAD);
        let payload = if packed.len() <= most {
            Bytes::from(packed)
        } else {
            self.objects().await?.put(id, &mut &*packed).await?;
            headers.insert(header::OBJECT, id);
            Bytes::new()
        };
        self.publish(self.subject("records"), headers, payload).await?;
        Ok(())
    }

    /// Returns the content of an object, if it exists.
    pub(crate) async fn object(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let mut object = match self.objects().await?.get(name).await {
            Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
            object => object.with_context(|| format!("object {name}"))?,
        };
        let mut bytes = Vec::new();
        object.read_to_end(&mut bytes).await.with_context(|| format!("object {name}"))?;
        Ok(Some(bytes))
    }

    /// Removes the object of a batch, if it has one. An object that cannot be removed expires with its age.
    pub(crate) async fn remove_object(&self, headers: Option<&HeaderMap>) {
        if let Some(object) = value(headers, header::OBJECT)
            && let Ok(objects) = self.objects().await
        {
            let _ = objects.delete(object).await;
        }
    }

    /// Copies a message to the dead letters, with the reason.
    pub(crate) async fn dead_letter(
        &self,
        headers: Option<&HeaderMap>,
        payload: &[u8],
        sequence: u64,
        reason: &str,
    ) -> anyhow::Result<()> {
        let mut headers = headers.cloned().unwrap_or_default();
        headers.insert(header::REASON, one_line(reason));
        // The message id makes sure that a message becomes one dead letter, even if several replicas try.
        headers.insert(NATS_MESSAGE_ID, format!("dead-{sequence}"));
        self.publish(self.subject("dead"), headers, Bytes::copy_from_slice(payload)).await?;
        Ok(())
    }
}

/// Returns a text as one line for a header, at most 1,000 characters long.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1_000).collect()
}
