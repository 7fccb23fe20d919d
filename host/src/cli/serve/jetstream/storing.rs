//! A delivery on its way into the stream.

use std::sync::Arc;

use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Value, json};

use super::super::clients::Known;
use super::super::judges::{Checked, Unchecked};
use super::super::records::{refusal, warn};
use super::super::room::Taken;
use super::super::routes::Denied;
use super::super::{InHand, Service};
use super::{JetStream, header};

/// The most bytes of a message, where a server is not told otherwise.
const USUAL: usize = 1 << 20;

/// What a message has besides the delivery: its headers and subject.
const ENVELOPE: usize = 4 << 10;

impl Service {
    /// Stores a delivery for whichever replica judges it; when this is answered with success, the server has it.
    pub(in super::super) async fn store(
        &self,
        jetstream: &JetStream,
        client: &Known,
        body: Vec<u8>,
        room: Taken,
    ) -> Result<Value, Denied> {
        let _in_hand = InHand::new(&self.in_hand);
        let tenant = client.tenant.map(|tenant| Arc::clone(&self.figures.names[tenant]));
        let delivery = Unchecked { body, client: Arc::clone(&client.name), tenant: tenant.clone() };
        let Checked { id, seen, packed } = self.judges.check(delivery).await.map_err(refusal)?;
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, &*id);
        headers.insert(header::DELIVERY, &*id);
        headers.insert(header::CLIENT, &*client.name);
        if let Some(tenant) = tenant {
            headers.insert(header::TENANT, &*tenant);
        }
        let stored = jetstream.store(&id, headers, packed).await;
        drop(room);
        stored.map_err(|error| {
            tracing::error!(error = %error, "a delivery is refused: it cannot be stored");
            Denied::busy(StatusCode::SERVICE_UNAVAILABLE, "it cannot be stored now")
        })?;
        let mut receipt = json!({"delivery": id, "records": seen.records, "suspect": seen.suspect, "stored": true});
        warn(&mut receipt, &seen);
        Ok(receipt)
    }
}

impl JetStream {
    /// Stores a delivery, in a message, or where it is too large for one in an object that a message names.
    async fn store(&self, id: &str, mut headers: HeaderMap, packed: Vec<u8>) -> anyhow::Result<()> {
        // A server that has not been reached yet has said nothing.
        let most = match self.client.server_info().max_payload {
            0 => USUAL,
            most => most,
        };
        let most = most.saturating_sub(ENVELOPE);
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
}
