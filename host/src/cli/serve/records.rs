//! `POST /v1/records`: a delivery, from the first byte to the answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use portcullis::config::Role;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Service;
use super::clients::Known;
use super::judges::{Delivery, JudgedDelivery, Refused};
use super::room::Taken;
use super::routes::Denied;
use crate::cli::failure::say;

/// A delivery that is in hand, for as long as this is there.
struct InHand<'s>(&'s AtomicUsize);

impl<'s> InHand<'s> {
    fn new(count: &'s AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service {
    /// Takes a delivery, or says why not.
    pub(super) async fn records(
        self: &Arc<Self>,
        client: &Arc<Known>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Value, Denied> {
        if *self.ends.borrow() {
            return Err(Denied::busy(
                StatusCode::SERVICE_UNAVAILABLE,
                "it ends; another replica, or the next, takes it",
            ));
        }
        if !client.may(Role::Ingest) {
            return Err(Denied::role(client, Role::Ingest));
        }
        // What it is shows in its first bytes; only what could not be read is refused for its header.
        let encoding = headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.to_str().unwrap_or("unknown"));
        if let Some(encoding) = encoding.filter(|encoding| !["gzip", "x-gzip", "zstd", "identity"].contains(encoding)) {
            let text = format!("Content-Encoding {encoding} is not read; send gzip, zstd or identity");
            return Err(Denied::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let mut room = self.room.of(&client.name);
        let limit = self.config.timeout;
        let body = timeout(limit, self.read(body, &mut room)).await.map_err(|_| {
            let text = format!("the delivery did not come whole within {} s", limit.as_secs());
            Denied::new(StatusCode::REQUEST_TIMEOUT, text)
        })??;
        // To its end, also where whoever brought it does not wait for the answer: the account must close.
        let (service, client) = (Arc::clone(self), Arc::clone(client));
        let taking = tokio::spawn(async move { service.take(&client, body, room).await });
        taking.await.unwrap_or_else(|_| Err(Denied::new(StatusCode::INTERNAL_SERVER_ERROR, "it failed".to_owned())))
    }

    /// Reads a body, as far as there is room for it.
    async fn read(&self, mut body: Body, room: &mut Taken) -> Result<Vec<u8>, Denied> {
        let most = self.config.max_body;
        let too_large = || {
            let text = format!("the delivery has more than {most} bytes; send fewer records at a time");
            Denied::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        };
        let announced = http_body::Body::size_hint(&body).lower();
        if announced > most {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|error| Denied::new(StatusCode::BAD_REQUEST, format!("the delivery broke off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = (bytes.len() + data.len()) as u64;
            if length > most {
                return Err(too_large());
            }
            if !room.grow(length) {
                return Err(Denied::busy(StatusCode::TOO_MANY_REQUESTS, "there is no room for it now"));
            }
            if bytes.capacity() == 0 {
                // As much as is announced, but not before there is anything.
                bytes.reserve_exact(usize::try_from(announced.min(1 << 20)).unwrap_or(0).max(data.len()));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }

    /// Judges a delivery and gives away all that comes of it; when this is answered with success, it is safe.
    async fn take(self: &Arc<Self>, client: &Known, body: Vec<u8>, mut room: Taken) -> Result<Value, Denied> {
        let _in_hand = InHand::new(&self.in_hand);
        let id = format!("{}-{:x}-{}", self.replica, self.started_at, self.next.fetch_add(1, Ordering::Relaxed));
        let delivery = Delivery { body, whose: client.tenant, input: Arc::clone(&client.name), id: id.clone() };
        let mut judged = self.judges.judge(delivery).await.map_err(|refused| match refused {
            Refused::Unreadable { place, reason } => {
                let text = format!("the delivery cannot be read: {reason}; none of its records was taken");
                Denied::new(StatusCode::BAD_REQUEST, text).at(place)
            }
            Refused::TooLarge(text) => Denied::new(StatusCode::PAYLOAD_TOO_LARGE, text),
        })?;
        if !room.grow(judged.size) {
            return Err(Denied::busy(StatusCode::SERVICE_UNAVAILABLE, "there is no room now for what comes of it"));
        }
        self.keep(&mut judged).await?;
        let receipt = receipt(&id, &judged);
        self.tell(&judged);
        self.figures.count(&mut judged);
        Ok(receipt)
    }

    /// Gives alerts to the sinks, what was wrong to the dead letters, and each record's line to the ledger, all at once.
    async fn keep(&self, judged: &mut JudgedDelivery) -> Result<(), Denied> {
        let (dead_letters, ledger) = (std::mem::take(&mut judged.dead_letters), std::mem::take(&mut judged.ledger));
        let write = async {
            match &self.ledger {
                Some(journal) => journal.append(ledger).await,
                None => Ok(()),
            }
        };
        let (alerts, dead_letters, ledger) =
            tokio::join!(self.sinks.put(&judged.alerts), self.dead_letters.append(dead_letters), write);
        alerts.and(dead_letters).and(ledger).map_err(|error| {
            tracing::error!(error = %error, "a delivery is refused: what comes of it cannot be kept");
            Denied::busy(StatusCode::SERVICE_UNAVAILABLE, "what comes of it cannot be kept now")
        })
    }

    /// Tells what an operator must hear.
    fn tell(&self, judged: &JudgedDelivery) {
        if judged.noted.is_empty() {
            return;
        }
        let mut said = Vec::new();
        {
            let mut teller = self.teller.lock().unwrap_or_else(PoisonError::into_inner);
            teller.goes_by(&judged.rules);
            for noted in &judged.noted {
                said.extend(noted.unowned.as_ref().and_then(|unowned| teller.unowned(unowned, &noted.place)));
                for (tenant, verdict) in
                    noted.tenant.iter().flat_map(|tenant| noted.verdicts.iter().map(|verdict| (*tenant, verdict)))
                {
                    said.extend(teller.verdict(tenant, verdict, &noted.place));
                }
                said.extend(noted.wanted_networks.then(|| teller.networks(&noted.place)).flatten());
            }
        }
        said.into_iter().for_each(say);
    }
}

/// What whoever brought a delivery is told about it.
fn receipt(id: &str, judged: &JudgedDelivery) -> Value {
    let (tenants, nobodys) = &judged.accounts;
    let all = portcullis::Accounting::total(tenants.iter().chain([nobodys]));
    json!({
        "delivery": id, "records": judged.records, "evaluated": all.evaluated, "ignored": all.ignored,
        "rejected": all.rejected, "alerts": judged.alerts.len(),
    })
}
