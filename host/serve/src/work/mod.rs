//! The worker: takes batches from the stream, judges them, and acknowledges each when its results are stored.

mod orphans;

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use async_nats::HeaderMap;
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::backoff::{FIRST_PAUSE, pause_after};
use crate::ingest::{Batch, Ingest, NotTaken, Refused};
use crate::jetstream::{CurrentProblem, JetStream, LOOK, header, value};

/// The client of a message that names none.
const PUBLISHER: &str = "jetstream";

/// How long a request for batches waits at the server.
const WAIT: Duration = Duration::from_secs(1);

/// The result of a batch of the stream.
#[derive(Debug, PartialEq, Eq)]
enum Disposition {
    Judged,
    /// The batch goes back into the stream, for this reason.
    Retry(String),
    /// The batch can never be judged, for this reason.
    DeadLetter(String),
}

impl Disposition {
    /// Returns its name in metrics.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Judged => "judged",
            Self::Retry(_) => "retried",
            Self::DeadLetter(_) => "dead",
        }
    }
}

/// Judges batches of the stream.
pub(crate) struct Worker {
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) jetstream: Arc<JetStream>,
    /// The number of batches that are judged at once.
    pub(crate) at_once: usize,
}

impl Worker {
    /// Takes batches from the stream until the service stops.
    pub(crate) async fn work(self) {
        let worker = Arc::new(self);
        let permits = Arc::new(Semaphore::new(worker.at_once));
        let mut problem = CurrentProblem::default();
        while !worker.is_stopping() {
            let error = worker.pull(&permits).await.err();
            let failed = error.is_some();
            problem.set(error.map(|error| format!("cannot take batches: {error:#}")));
            if failed {
                sleep(FIRST_PAUSE).await;
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.ingest.stopping.is_cancelled()
    }

    /// Takes batches until something fails, or until it is time to check the consumer's state again.
    async fn pull(self: &Arc<Self>, permits: &Arc<Semaphore>) -> anyhow::Result<()> {
        let mut consumer = self.jetstream.consumer().await?;
        let began = Instant::now();
        while began.elapsed() < LOOK {
            if self.is_stopping() {
                return Ok(());
            }
            // Twice as many as are judged at once, so that the next ones are here in time.
            let mut messages = consumer.batch().max_messages(2 * self.at_once).expires(WAIT).messages().await?;
            // The timeout is shorter than the library's own, which waits some seconds longer for a server that was
            // killed.
            while let Ok(Some(message)) = timeout(WAIT + FIRST_PAUSE, messages.next()).await {
                let message = message.map_err(|error| anyhow!(error))?;
                let permit = Arc::clone(permits).acquire_owned().await?;
                let worker = Arc::clone(self);
                tokio::spawn(async move {
                    worker.handle(&message).await;
                    drop(permit);
                });
            }
        }
        let info = consumer.info().await.map_err(|error| anyhow!(error))?;
        self.ingest.stats.set_waiting(info.num_pending);
        self.judge_orphans(info.delivered.stream_sequence).await
    }

    /// Judges a message and acknowledges it, or gives it back to the stream.
    async fn handle(&self, message: &Message) {
        let _in_flight = self.ingest.in_flight.token();
        let (headers, payload) = (message.headers.as_ref(), &message.payload);
        let (delivered, sequence) = message.info().map_or((1, 0), |info| (info.delivered, info.stream_sequence));
        let attempt = delivered.max(1).unsigned_abs();
        let disposition = if self.is_stopping() {
            Disposition::Retry("the replica is shutting down".to_owned())
        } else if attempt > u64::from(self.jetstream.settings.attempts) {
            // Each replica that took it died, or could not store its results.
            let before = attempt - 1;
            Disposition::DeadLetter(format!("given up after {before} attempt{}", if before == 1 { "" } else { "s" }))
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
                tracing::warn!(reason, attempt, "batch returned to the stream");
                // A replica that stops gives it to another one at once.
                AckKind::Nak((!self.is_stopping()).then(|| pause_after(attempt)))
            }
            Disposition::DeadLetter(reason) => {
                tracing::error!(reason, attempt, "batch became a dead letter");
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
            // The server will deliver it again. Its alerts are stored once.
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
                None => return Disposition::DeadLetter(format!("unknown tenant {name}")),
            },
        };
        let id = value(headers, header::BATCH);
        let id = id.map_or_else(|| format!("{}-{sequence}", self.jetstream.name("records")), str::to_owned);
        let body = match value(headers, header::OBJECT) {
            None => payload.to_vec(),
            Some(object) => match self.jetstream.object(object).await {
                Ok(Some(body)) => body,
                // Our own objects are removed only after their batch was judged, so this batch was judged before.
                Ok(None) if Some(object) == value(headers, header::BATCH) => return Disposition::Judged,
                Ok(None) => return Disposition::Retry(format!("object {object} is missing")),
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
            NotTaken::OverBudget => Self::Retry("the memory budget is used up".to_owned()),
            NotTaken::NotKept(reason) | NotTaken::NotStored(reason) => Self::Retry(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_of_the_batch_itself_makes_it_a_dead_letter() {
        let unreadable = Refused::Unreadable { place: "3".to_owned(), reason: "it is cut off".to_owned() };
        let disposition = Disposition::from(NotTaken::Refused(unreadable));
        assert_eq!(disposition, Disposition::DeadLetter("3: it is cut off".to_owned()));
        let too_large = NotTaken::Refused(Refused::TooLarge("too large".to_owned()));
        assert_eq!(Disposition::from(too_large), Disposition::DeadLetter("too large".to_owned()));
        for temporary in [
            NotTaken::OverBudget,
            NotTaken::NotKept("the disk is full".to_owned()),
            NotTaken::NotStored("no server".to_owned()),
        ] {
            assert!(matches!(Disposition::from(temporary), Disposition::Retry(_)));
        }
    }
}
