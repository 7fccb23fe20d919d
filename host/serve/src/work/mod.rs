//! Workers: batches come out of the stream, each is judged by one of the replicas, and acknowledged when what comes of it is
//! kept.

mod orphans;

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use async_nats::HeaderMap;
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::ingest::{Batch, Ingest, NotTaken, Refused};
use crate::jetstream::{JetStream, LOOK, Logged, header, value};

/// The client's name of a publisher that gives none.
const PUBLISHER: &str = "jetstream";

/// How long a request for batches waits at the server.
const WAIT: Duration = Duration::from_secs(1);

/// The pause before a batch is tried for the second time. It doubles with each further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What becomes of a batch of the stream.
#[derive(Debug, PartialEq, Eq)]
enum Disposition {
    Judged,
    /// It goes back into the stream, for this reason.
    Retry(String),
    /// It can never be judged, for this reason.
    DeadLetter(String),
}

impl Disposition {
    /// Returns its name in metrics.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Judged => "judged",
            Self::Retry(_) => "again",
            Self::DeadLetter(_) => "dead",
        }
    }
}

/// Judges batches of the stream.
pub(crate) struct Worker {
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) jetstream: Arc<JetStream>,
    /// Number of batches that are judged at once.
    pub(crate) at_once: usize,
}

impl Worker {
    /// Takes batches out of the stream until the service stops.
    pub(crate) async fn work(self) {
        let worker = Arc::new(self);
        let places = Arc::new(Semaphore::new(worker.at_once));
        let mut logged = Logged::default();
        while !worker.is_stopping() {
            let wrong = worker.pull(&places).await.err();
            let failed = wrong.is_some();
            logged.set(wrong.map(|error| format!("no batches can be taken: {error:#}")));
            if failed {
                sleep(FIRST_PAUSE).await;
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.ingest.stopping.is_cancelled()
    }

    /// Takes batches until something fails, or for so long that the consumer's state is worth another look.
    async fn pull(self: &Arc<Self>, places: &Arc<Semaphore>) -> anyhow::Result<()> {
        let mut consumer = self.jetstream.consumer().await?;
        let began = Instant::now();
        while began.elapsed() < LOOK {
            if self.is_stopping() {
                return Ok(());
            }
            // Twice as many as are judged at once, so that the next are here when those are done.
            let mut messages = consumer.batch().max_messages(2 * self.at_once).expires(WAIT).messages().await?;
            // The library waits some seconds longer for a server that was killed, and does not answer.
            while let Ok(Some(message)) = timeout(WAIT + FIRST_PAUSE, messages.next()).await {
                let message = message.map_err(|error| anyhow!(error))?;
                let place = Arc::clone(places).acquire_owned().await?;
                let worker = Arc::clone(self);
                tokio::spawn(async move {
                    worker.handle(&message).await;
                    drop(place);
                });
            }
        }
        let info = consumer.info().await.map_err(|error| anyhow!(error))?;
        self.ingest.stats.set_waiting(info.num_pending);
        self.judge_orphans(info.delivered.stream_sequence).await
    }

    /// Judges a message, and tells the server what became of it.
    async fn handle(&self, message: &Message) {
        let _in_flight = self.ingest.in_flight.token();
        let (headers, payload) = (message.headers.as_ref(), &message.payload);
        let (delivered, sequence) = message.info().map_or((1, 0), |info| (info.delivered, info.stream_sequence));
        let attempt = delivered.max(1).unsigned_abs();
        let disposition = if self.is_stopping() {
            Disposition::Retry("the replica ends".to_owned())
        } else if attempt > u64::from(self.jetstream.settings.attempts) {
            // Each replica that took it has died, or could keep nothing of it.
            Disposition::DeadLetter(format!("it was tried {} times, and never to the end", attempt - 1))
        } else {
            let judging = self.judge_message(headers, payload, sequence);
            tokio::pin!(judging);
            let mut progress = interval(self.jetstream.settings.ack_wait / 3);
            progress.tick().await;
            loop {
                tokio::select! {
                    disposition = &mut judging => break disposition,
                    _ = progress.tick() => drop(message.ack_with(AckKind::Progress).await),
                }
            }
        };
        let answer = match &disposition {
            Disposition::Judged => AckKind::Ack,
            Disposition::Retry(reason) => {
                tracing::warn!(reason, attempt, "a batch goes back into the stream");
                // A replica that stops leaves it to another at once.
                AckKind::Nak((!self.is_stopping()).then(|| pause_after(attempt)))
            }
            Disposition::DeadLetter(reason) => {
                tracing::error!(reason, attempt, "a batch becomes a dead letter");
                AckKind::Ack
            }
        };
        self.ingest.stats.handled(disposition.as_str());
        let done = async {
            if let Disposition::DeadLetter(reason) = &disposition {
                self.jetstream.dead_letter(headers, payload, sequence, reason).await?;
            }
            message.ack_with(answer).await.map_err(|error| anyhow!(error))?;
            if disposition == Disposition::Judged {
                self.jetstream.remove_object(headers).await;
            }
            anyhow::Ok(())
        };
        if let Err(error) = done.await {
            // It comes again; its alerts are there once.
            tracing::warn!(error = %error, "a batch cannot be acknowledged");
        }
    }

    /// Judges the batch of a message.
    async fn judge_message(&self, headers: Option<&HeaderMap>, payload: &[u8], sequence: u64) -> Disposition {
        let client: Arc<str> = value(headers, header::CLIENT).unwrap_or(PUBLISHER).into();
        let tenant = match value(headers, header::TENANT) {
            None => None,
            Some(name) => match self.ingest.tenants.iter().position(|known| **known == *name) {
                Some(tenant) => Some(tenant),
                None => return Disposition::DeadLetter(format!("there is no tenant {name}")),
            },
        };
        let id = value(headers, header::BATCH);
        let id = id.map_or_else(|| format!("{}-{sequence}", self.jetstream.name("records")), str::to_owned);
        let body = match value(headers, header::OBJECT) {
            None => payload.to_vec(),
            Some(object) => match self.jetstream.object(object).await {
                Ok(Some(body)) => body,
                // Our own objects are removed only after their batch was judged: this is that batch again.
                Ok(None) if Some(object) == value(headers, header::BATCH) => return Disposition::Judged,
                Ok(None) => return Disposition::Retry(format!("there is no object {object}")),
                Err(error) => return Disposition::Retry(format!("{error:#}")),
            },
        };
        let mut permit = self.ingest.budget.permit(&client);
        while !permit.grow(body.len() as u64) {
            sleep(Duration::from_millis(20)).await;
        }
        match self.ingest.judge_and_keep(Batch { body, tenant, client, id }, &mut permit).await {
            Ok(_) => Disposition::Judged,
            Err(not_taken) => not_taken.into(),
        }
    }
}

impl From<NotTaken> for Disposition {
    fn from(not_taken: NotTaken) -> Self {
        match not_taken {
            NotTaken::Refused(Refused::Unreadable { place, reason }) => Self::DeadLetter(format!("{place}: {reason}")),
            NotTaken::Refused(Refused::TooLarge(reason)) => Self::DeadLetter(reason),
            NotTaken::OverBudget => Self::Retry("there is no room for what comes of it".to_owned()),
            NotTaken::NotKept(reason) | NotTaken::NotStored(reason) => Self::Retry(reason),
        }
    }
}

/// Returns the pause before a batch is tried again after this attempt, counted from 1.
fn pause_after(attempt: u64) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_with_a_batch_itself_makes_it_a_dead_letter() {
        let unreadable = Refused::Unreadable { place: "3".to_owned(), reason: "it is cut off".to_owned() };
        let disposition = Disposition::from(NotTaken::Refused(unreadable));
        assert_eq!(disposition, Disposition::DeadLetter("3: it is cut off".to_owned()));
        let too_large = NotTaken::Refused(Refused::TooLarge("too large".to_owned()));
        assert_eq!(Disposition::from(too_large), Disposition::DeadLetter("too large".to_owned()));
        for passing in [
            NotTaken::OverBudget,
            NotTaken::NotKept("the disk is full".to_owned()),
            NotTaken::NotStored("no server".to_owned()),
        ] {
            assert!(matches!(Disposition::from(passing), Disposition::Retry(_)));
        }
    }

    #[test]
    fn a_pause_doubles_with_each_attempt_up_to_the_longest() {
        assert_eq!([1, 2, 3].map(pause_after), [500, 1_000, 2_000].map(Duration::from_millis));
        assert_eq!(pause_after(7), LONGEST_PAUSE);
        assert_eq!(pause_after(u64::MAX), LONGEST_PAUSE);
    }
}
