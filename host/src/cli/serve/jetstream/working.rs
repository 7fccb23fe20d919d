//! Deliveries out of the stream: each is judged by one of the replicas, and acknowledged when all that comes of it is kept.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::object_store::GetErrorKind;
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval, sleep, timeout};

use super::super::judges::Delivery;
use super::super::reading::Refused;
use super::super::records::NotTaken;
use super::super::{InHand, Service};
use super::{JetStream, LOOK, header, tell};

/// What whoever publishes without naming itself is called.
const PUBLISHER: &str = "jetstream";

/// The durable consumer that all replicas share.
const CONSUMER: &str = "judges";

/// How long a request for deliveries waits at the server.
const WAIT: Duration = Duration::from_secs(1);

/// After a failure that is not the delivery's, it is tried again after so long, and then twice as long each time, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What becomes of a delivery.
pub(super) enum Fate {
    Judged,
    Again(String),
    Dead(String),
}

impl Service {
    /// Takes deliveries out of the stream until the service ends.
    pub(in super::super) async fn work(self: Arc<Self>, jetstream: Arc<JetStream>, at_once: usize) {
        let places = Arc::new(Semaphore::new(at_once));
        let mut told = None;
        while !*self.ends.borrow() {
            let wrong = self.pull(&jetstream, &places, at_once).await.err();
            let is_wrong = wrong.is_some();
            tell(&mut told, wrong.map(|error| format!("no deliveries can be taken: {error:#}")));
            if is_wrong {
                sleep(FIRST_PAUSE).await;
            }
        }
    }

    /// Takes some.
    async fn pull(
        self: &Arc<Self>,
        jetstream: &Arc<JetStream>,
        places: &Arc<Semaphore>,
        at_once: usize,
    ) -> anyhow::Result<()> {
        let mut consumer = jetstream.consumer().await?;
        // Again and again, until something goes wrong: what the server knows of the consumer is asked for now and then.
        let began = Instant::now();
        while began.elapsed() < LOOK {
            if *self.ends.borrow() {
                return Ok(());
            }
            // As many again as are in hand, so that the next are here when those are done.
            let mut messages = consumer.batch().max_messages(2 * at_once).expires(WAIT).messages().await?;
            // The library waits some seconds longer for a server that was killed, and does not answer.
            while let Ok(Some(message)) = timeout(WAIT + FIRST_PAUSE, messages.next()).await {
                let message = message.map_err(|error| anyhow!(error))?;
                let place = Arc::clone(places).acquire_owned().await?;
                let (service, jetstream) = (Arc::clone(self), Arc::clone(jetstream));
                tokio::spawn(async move {
                    service.handle(&jetstream, &message).await;
                    drop(place);
                });
            }
        }
        let info = consumer.info().await.map_err(|error| anyhow!(error))?;
        self.figures.waits(info.num_pending);
        self.judge_left_behind(jetstream, info.delivered.stream_sequence).await
    }

    async fn handle(&self, jetstream: &JetStream, message: &Message) {
        let _in_hand = InHand::new(&self.in_hand);
        let (headers, payload) = (message.headers.as_ref(), &message.payload);
        let (delivered, sequence) = message.info().map_or((1, 0), |info| (info.delivered, info.stream_sequence));
        let attempt = delivered.max(1).unsigned_abs();
        let fate = if *self.ends.borrow() {
            Fate::Again("the replica ends".to_owned())
        } else if attempt > u64::from(jetstream.settings.attempts) {
            // Whoever took it has died each time, or could keep nothing of it.
            Fate::Dead(format!("it was tried {} times, and never to the end", attempt - 1))
        } else {
            let judging = self.judge_message(jetstream, headers, payload, sequence);
            tokio::pin!(judging);
            let mut progress = interval(jetstream.settings.ack_wait / 3);
            progress.tick().await;
            loop {
                tokio::select! {
                    fate = &mut judging => break fate,
                    _ = progress.tick() => drop(message.ack_with(AckKind::Progress).await),
                }
            }
        };
        let (word, answer) = match &fate {
            Fate::Judged => ("judged", AckKind::Ack),
            Fate::Again(reason) => {
                let pause = FIRST_PAUSE.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST_PAUSE);
                tracing::warn!(reason, attempt, "a delivery goes back into the stream");
                // Where this replica ends, another may have it at once.
                ("again", AckKind::Nak((!*self.ends.borrow()).then_some(pause)))
            }
            Fate::Dead(reason) => {
                tracing::error!(reason, attempt, "a delivery becomes a dead letter");
                ("dead", AckKind::Ack)
            }
        };
        self.figures.handled(word);
        let done = async {
            if let Fate::Dead(reason) = &fate {
                jetstream.bury(headers, payload, sequence, reason).await?;
            }
            message.ack_with(answer).await.map_err(|error| anyhow!(error))?;
            if matches!(fate, Fate::Judged) {
                jetstream.remove_object(headers).await;
            }
            anyhow::Ok(())
        };
        if let Err(error) = done.await {
            // It comes again, and so do its alerts, which are there once.
            tracing::warn!(error = %error, "a delivery cannot be acknowledged");
        }
    }

    /// Judges what a message of the stream holds.
    pub(super) async fn judge_message(
        &self,
        jetstream: &JetStream,
        headers: Option<&HeaderMap>,
        payload: &[u8],
        sequence: u64,
    ) -> Fate {
        let client: Arc<str> = value(headers, header::CLIENT).unwrap_or(PUBLISHER).into();
        let whose = match value(headers, header::TENANT) {
            None => None,
            Some(name) => match self.figures.names.iter().position(|known| **known == *name) {
                Some(tenant) => Some(tenant),
                None => return Fate::Dead(format!("there is no tenant {name}")),
            },
        };
        let id = value(headers, header::DELIVERY);
        let id = id.map_or_else(|| format!("{}-{sequence}", jetstream.name("records")), str::to_owned);
        let body = match value(headers, header::OBJECT) {
            None => payload.to_vec(),
            Some(object) => match jetstream.object(object).await {
                Ok(Some(body)) => body,
                // One of ours is removed only when its delivery has been judged: this is that one again.
                Ok(None) if Some(object) == value(headers, header::DELIVERY) => return Fate::Judged,
                Ok(None) => return Fate::Again(format!("there is no object {object}")),
                Err(error) => return Fate::Again(format!("{error:#}")),
            },
        };
        let mut room = self.room.of(&client);
        while !room.grow(body.len() as u64) {
            sleep(Duration::from_millis(20)).await;
        }
        match self.judge_and_keep(Delivery { body, whose, input: client, id }, &mut room).await {
            Ok(_) => Fate::Judged,
            Err(NotTaken::Refused(Refused::Unreadable { place, reason })) => Fate::Dead(format!("{place}: {reason}")),
            Err(NotTaken::Refused(Refused::TooLarge(reason))) => Fate::Dead(reason),
            Err(NotTaken::NoRoom) => Fate::Again("there is no room for what comes of it".to_owned()),
            Err(NotTaken::NotKept(reason)) => Fate::Again(reason),
        }
    }
}

fn value<'h>(headers: Option<&'h HeaderMap>, name: &str) -> Option<&'h str> {
    headers?.get(name).map(async_nats::HeaderValue::as_str)
}

impl JetStream {
    /// The consumer that all replicas share.
    async fn consumer(&self) -> anyhow::Result<PullConsumer> {
        let stream = self.context.get_stream(self.name("records")).await.map_err(|error| anyhow!(error))?;
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.settings.ack_wait,
            // What is tried too often is buried by who gets it then.
            max_deliver: -1,
            max_ack_pending: 10_000,
            ..pull::Config::default()
        };
        stream.get_or_create_consumer(CONSUMER, config).await.map_err(|error| anyhow!(error))
    }

    /// A delivery that was too large for a message, if it is there.
    async fn object(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let mut object = match self.objects().await?.get(name).await {
            Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
            object => object.with_context(|| format!("object {name}"))?,
        };
        let mut bytes = Vec::new();
        object.read_to_end(&mut bytes).await.with_context(|| format!("object {name}"))?;
        Ok(Some(bytes))
    }

    /// Removes the object that held a delivery, if one did. What stays for a failure here goes with its age.
    pub(super) async fn remove_object(&self, headers: Option<&HeaderMap>) {
        if let Some(object) = value(headers, header::OBJECT)
            && let Ok(objects) = self.objects().await
        {
            let _ = objects.delete(object).await;
        }
    }

    /// Puts a message aside with the reason.
    pub(super) async fn bury(
        &self,
        headers: Option<&HeaderMap>,
        payload: &[u8],
        sequence: u64,
        reason: &str,
    ) -> anyhow::Result<()> {
        let mut headers = headers.cloned().unwrap_or_default();
        headers.insert(header::REASON, one_line(reason));
        // Of the same message there is one dead letter, whoever buries it.
        headers.insert(async_nats::header::NATS_MESSAGE_ID, format!("dead-{sequence}"));
        self.publish(self.subject("dead"), headers, Bytes::copy_from_slice(payload)).await?;
        Ok(())
    }
}

/// A header is one line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1_000).collect()
}
