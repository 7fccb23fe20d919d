//! `POST /v1/records`: a delivery, from the first byte to the answer.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use portcullis::config::Role;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::clients::Known;
use super::journal::NotWritten;
use super::judges::{Delivery, JudgedDelivery};
use super::reading::Refused;
use super::room::Taken;
use super::routes::Denied;
use super::{InHand, Service};
use crate::cli::failure::say;
use crate::cli::seen::Seen;

/// What a delivery may say that it is encoded with.
const ENCODINGS: [&str; 4] = ["gzip", "x-gzip", "zstd", "identity"];

impl Service {
    /// Takes a delivery, or says why not.
    pub(super) async fn records(
        self: &Arc<Self>,
        client: &Arc<Known>,
        headers: &HeaderMap,
        body: &mut Body,
    ) -> Result<Value, Denied> {
        if *self.ends.borrow() {
            return Err(Denied::busy(
                StatusCode::SERVICE_UNAVAILABLE,
                "it ends; another replica, or the next, takes it",
            ));
        }
        if self.jetstream.as_ref().is_some_and(|jetstream| !jetstream.settings.ingest) {
            let text = "this replica takes deliveries out of the stream only (jetstream: ingest = false)";
            return Err(Denied::new(StatusCode::NOT_FOUND, text.to_owned()));
        }
        if !client.may(Role::Ingest) {
            return Err(Denied::role(client, Role::Ingest));
        }
        // What it is shows in its first bytes; only what could not be read is refused for its header.
        let encoding = headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.to_str().unwrap_or("unknown"));
        let is_read = |encoding: &str| ENCODINGS.iter().any(|known| known.eq_ignore_ascii_case(encoding));
        if let Some(encoding) = encoding.filter(|encoding| !is_read(encoding)) {
            let text = format!("Content-Encoding {encoding} is not read; send gzip, zstd or identity");
            return Err(Denied::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let mut room = self.room.of(&client.name);
        let body = self.body(body, &mut room).await?;
        // To its end, also where whoever brought it does not wait for the answer: the account must close.
        let (service, client) = (Arc::clone(self), Arc::clone(client));
        let taking = tokio::spawn(async move {
            match &service.jetstream {
                Some(jetstream) if jetstream.settings.ingest => service.store(jetstream, &client, body, room).await,
                _ => service.take(&client, body, room).await,
            }
        });
        taking.await.unwrap_or_else(|_| Err(Denied::new(StatusCode::INTERNAL_SERVER_ERROR, "it failed".to_owned())))
    }

    /// A body, if it comes whole, in time, and there is room for it.
    pub(super) async fn body(&self, body: &mut Body, room: &mut Taken) -> Result<Vec<u8>, Denied> {
        let limit = self.config.timeout;
        timeout(limit, self.read(body, room)).await.map_err(|_| {
            let text = format!("the delivery did not come whole within {} s", limit.as_secs());
            Denied::new(StatusCode::REQUEST_TIMEOUT, text)
        })?
    }

    /// Reads what is left of a delivery that is refused, and forgets it. Who is still sending when the connection is closed is
    /// told that it broke, and not why.
    pub(super) fn pass_over(&self, mut body: Body) {
        let (limit, mut left) = (self.config.timeout, self.config.max_body);
        tokio::spawn(timeout(limit, async move {
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(rest) = left.checked_sub(length) else { break };
                left = rest;
            }
        }));
    }

    /// Reads a body, as far as there is room for it.
    async fn read(&self, body: &mut Body, room: &mut Taken) -> Result<Vec<u8>, Denied> {
        let most = self.config.max_body;
        let too_large = || {
            let text = format!("the delivery has more than {most} bytes; send fewer records at a time");
            Denied::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        };
        let announced = http_body::Body::size_hint(body).lower();
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

    /// Judges a delivery at once; when this is answered with success, it is safe.
    async fn take(&self, client: &Known, body: Vec<u8>, mut room: Taken) -> Result<Value, Denied> {
        let _in_hand = InHand::new(&self.in_hand);
        let id = format!("{}-{:x}-{}", self.replica, self.started_at, self.next.fetch_add(1, Ordering::Relaxed));
        let delivery = Delivery { body, whose: client.tenant, input: Arc::clone(&client.name), id };
        self.judge_and_keep(delivery, &mut room).await.map_err(|not_taken| match not_taken {
            NotTaken::Refused(refused) => refusal(refused),
            NotTaken::NoRoom => {
                Denied::busy(StatusCode::SERVICE_UNAVAILABLE, "there is no room now for what comes of it")
            }
            NotTaken::NotKept(reason) => {
                tracing::error!(reason, "a delivery is refused: what comes of it cannot be kept");
                Denied::busy(StatusCode::SERVICE_UNAVAILABLE, "what comes of it cannot be kept now")
            }
        })
    }

    /// Judges a delivery and gives away all that comes of it; then it is safe, and counted. What whoever brought it is told.
    pub(super) async fn judge_and_keep(&self, delivery: Delivery, room: &mut Taken) -> Result<Value, NotTaken> {
        let id = delivery.id.clone();
        let mut judged = self.judges.judge(delivery).await.map_err(NotTaken::Refused)?;
        if !room.grow(judged.size) {
            return Err(NotTaken::NoRoom);
        }
        self.keep(&mut judged).await.map_err(|NotWritten(why)| NotTaken::NotKept(why))?;
        let receipt = receipt(&id, &judged);
        self.tell(&judged);
        self.figures.count(&mut judged);
        Ok(receipt)
    }

    /// Gives alerts to the sinks, what was wrong to the dead letters, and each record's line to the ledger, all at once.
    async fn keep(&self, judged: &mut JudgedDelivery) -> Result<(), NotWritten> {
        let (dead_letters, ledger) = (std::mem::take(&mut judged.dead_letters), std::mem::take(&mut judged.ledger));
        let write = async {
            match &self.ledger {
                Some(journal) => journal.append(ledger).await,
                None => Ok(()),
            }
        };
        let put = self.sinks.put(&self.figures.names, &judged.alerts);
        let (alerts, dead_letters, ledger) = tokio::join!(put, self.dead_letters.append(dead_letters), write);
        alerts.and(dead_letters).and(ledger)
    }

    /// Tells what an operator must hear.
    fn tell(&self, judged: &JudgedDelivery) {
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
            said.extend(judged.seen.blind.iter().filter_map(|blind| teller.blind(blind)));
            said.extend(teller.client(&judged.client, &judged.seen));
        }
        said.into_iter().for_each(say);
    }
}

/// Why a delivery is not taken.
pub(super) enum NotTaken {
    /// It never will be.
    Refused(Refused),
    /// There is no room for what comes of it.
    NoRoom,
    /// What comes of it cannot be kept now.
    NotKept(String),
}

/// A refusal as an answer.
pub(super) fn refusal(refused: Refused) -> Denied {
    match refused {
        Refused::Unreadable { place, reason } => {
            let text = format!("the delivery cannot be read: {reason}; none of its records was taken");
            Denied::new(StatusCode::BAD_REQUEST, text).at(place)
        }
        Refused::TooLarge(text) => Denied::new(StatusCode::PAYLOAD_TOO_LARGE, text),
    }
}

/// What whoever brought a delivery is told about it.
fn receipt(id: &str, judged: &JudgedDelivery) -> Value {
    let (tenants, nobodys) = &judged.accounts;
    let all = portcullis::Accounting::total(tenants.iter().chain([nobodys]));
    let mut receipt = json!({
        "delivery": id, "records": judged.seen.records, "evaluated": all.evaluated, "ignored": all.ignored,
        "suspect": all.suspect, "rejected": all.rejected, "alerts": judged.alerts.len(),
    });
    warn(&mut receipt, &judged.seen);
    receipt
}

/// Warns whoever brought records of which none was evaluated.
pub(super) fn warn(receipt: &mut Value, seen: &Seen) {
    if let Some(text) = seen.nothing_evaluated() {
        receipt["warning"] = text.into();
    }
}
