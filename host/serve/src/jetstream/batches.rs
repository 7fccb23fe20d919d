//! Batches in the stream: stored, fetched, and put aside.

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

/// The most bytes of a message at a server that was not configured otherwise.
const USUAL: usize = 1 << 20;

/// The bytes of a message besides its payload: headers and subject.
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
            // The replica that gets a batch once too often makes it a dead letter.
            max_deliver: -1,
            max_ack_pending: 10_000,
            ..pull::Config::default()
        };
        let stream = self.batches().await?;
        stream.get_or_create_consumer(CONSUMER, config).await.map_err(|error| anyhow!(error))
    }

    /// Stores a batch, in a message, or where it is too large for one in an object that a message names.
    pub(crate) async fn store(&self, id: &str, mut headers: HeaderMap, packed: Vec<u8>) -> anyhow::Result<()> {
        // A server that has not been reached yet has said nothing.
        let most = match self.client.server_info().max_payload {
            0 => USUAL,
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

    /// Returns the body of a batch that was too large for a message, if the object is there.
    pub(crate) async fn object(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let mut object = match self.objects().await?.get(name).await {
            Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
            object => object.with_context(|| format!("object {name}"))?,
        };
        let mut bytes = Vec::new();
        object.read_to_end(&mut bytes).await.with_context(|| format!("object {name}"))?;
        Ok(Some(bytes))
    }

    /// Removes the object that held a batch, if one did. What stays for a failure here goes with its age.
    pub(crate) async fn remove_object(&self, headers: Option<&HeaderMap>) {
        if let Some(object) = value(headers, header::OBJECT)
            && let Ok(objects) = self.objects().await
        {
            let _ = objects.delete(object).await;
        }
    }

    /// Puts a message aside with the reason.
    pub(crate) async fn dead_letter(
        &self,
        headers: Option<&HeaderMap>,
        payload: &[u8],
        sequence: u64,
        reason: &str,
    ) -> anyhow::Result<()> {
        let mut headers = headers.cloned().unwrap_or_default();
        headers.insert(header::REASON, one_line(reason));
        // A message becomes one dead letter, whichever replica makes it one.
        headers.insert(NATS_MESSAGE_ID, format!("dead-{sequence}"));
        self.publish(self.subject("dead"), headers, Bytes::copy_from_slice(payload)).await?;
        Ok(())
    }
}

/// A header is one line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1_000).collect()
}
