//! The worker: takes batches from the stream, judges them, and acknowledges each when its results are stored.

mod orphans;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{RwLock, Semaphore};
use tokio::time::{Instant, sleep};

use crate::backoff::{FIRST_PAUSE, LONGEST_PAUSE, pause_after};
use crate::ingest::{Batch, Ingest, JudgedBatch, NotTaken, OverBudget, Permit, Refused};
use crate::jetstream::{Answer, CurrentProblem, Entry, JetStream, Message, StoredBatch, header, value};
use crate::machine::{Machine, within};
use crate::storage::NotWritten;

/// The client of a message that names none.
const PUBLISHER: &str = "jetstream";

/// How long a request for batches waits at the server.
const WAIT: Duration = Duration::from_secs(1);

/// The interval at which the consumer's state and orphans are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The result of a batch of the stream.
#[derive(Debug, PartialEq, Eq)]
enum Disposition {
    Judged,
    /// The batch goes back into the stream for a while, for this reason.
    Retry(String, Duration),
    /// The batch waits in the stream, because a sink takes no alerts of its tenant.
    Held(String),
    /// The batch can never be judged, for this reason.
    DeadLetter(String),
}

impl Disposition {
    /// Returns its name in metrics.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Judged => "judged",
            Self::Retry(..) | Self::Held(_) => "retried",
            Self::DeadLetter(_) => "dead",
        }
    }
}

/// Judges batches of the stream.
pub(crate) struct Worker {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) jetstream: Arc<JetStream>,
    pub(crate) replica: Arc<str>,
    /// The number of batches that are judged at once.
    pub(crate) at_once: usize,
    /// Held alone by a batch that may have killed a replica, and shared by all others.
    pub(crate) alone: RwLock<()>,
}

impl Worker {
    /// Takes batches from the stream until the service stops.
    pub(crate) async fn work(self: Arc<Self>) {
        let permits = Arc::new(Semaphore::new(self.at_once));
        let (mut problem, mut obstacle) = (CurrentProblem::default(), CurrentProblem::default());
        while !self.is_stopping() {
            let obstacles = self.ingest.obstacles();
            let is_held_up = !obstacles.is_empty();
            obstacle.set(is_held_up.then(|| format!("no batches are taken: {}", obstacles.join("; "))));
            let mut failed = false;
            if !is_held_up {
                // A server that does not answer must not hold up the end. Batches that are on their way come again.
                let error = tokio::select! {
                    biased;
                    () = self.ingest.stopping.cancelled() => break,
                    pulled = self.pull(&permits) => pulled.err(),
                };
                failed = error.is_some();
                problem.set(error.map(|error| format!("cannot take batches: {error:#}")));
            }
            if failed || is_held_up {
                sleep(FIRST_PAUSE).await;
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.ingest.stopping.is_cancelled()
    }

    /// Takes batches until something fails, nothing can be stored, or it is time to look at the consumer's state.
    async fn pull(self: &Arc<Self>, permits: &Arc<Semaphore>) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < LOOK && !self.is_stopping() && self.ingest.obstacles().is_empty() {
            // Twice as many as are judged at once, so that the next ones are here in time.
            let pulled = Instant::now();
            let mut messages = self.jetstream.broker.pull(2 * self.at_once, WAIT).await?;
            // The server ends the request in time, unless it was killed.
            while let Some(Some(message)) = within(WAIT + FIRST_PAUSE, messages.next()).await {
                if message.is_err() {
                    // Finds out whether the consumer is still there.
                    let _ = self.jetstream.broker.progress().await;
                }
                let message = message?;
                let permit = Arc::clone(permits).acquire_owned().await?;
                if pulled.elapsed() > WAIT + self.jetstream.settings.ack_wait / 2 {
                    // The server is about to give this batch and the next ones to another replica.
                    break;
                }
                let worker = Arc::clone(self);
                let handle = async move {
                    worker.handle(message).await;
                    drop(permit);
                };
                self.machine.spawn_task(handle.boxed());
            }
        }
        self.ingest.stats.set_waiting(self.jetstream.broker.progress().await?.waiting);
        Ok(())
    }

    /// Judges a message and acknowledges it, or gives it back to the stream.
    async fn handle(&self, message: Message) {
        let _in_flight = self.ingest.in_flight.token();
        let Message { batch, delivered, reply } = message;
        let in_progress = async {
            loop {
                sleep(self.jetstream.settings.ack_wait / 3).await;
                let _ = reply.send(Answer::InProgress).await;
            }
        };
        let disposition = tokio::select! {
            biased;
            disposition = self.judge(&batch, delivered) => disposition,
            () = in_progress => unreachable!("it never ends"),
        };
        self.ingest.stats.handled(disposition.as_str());
        let sequence = batch.sequence;
        let done = async {
            let answer = match &disposition {
                Disposition::Judged => Answer::Done,
                Disposition::Retry(reason, pause) => {
                    tracing::warn!(reason, sequence, "batch returned to the stream");
                    Answer::Again(*pause)
                }
                Disposition::Held(reason) => {
                    tracing::debug!(reason, sequence, "batch waits in the stream");
                    Answer::Again(LONGEST_PAUSE)
                }
                Disposition::DeadLetter(reason) => {
                    tracing::error!(reason, sequence, "batch becomes a dead letter");
                    self.jetstream.dead_letter(&batch, reason).await?;
                    Answer::Done
                }
            };
            reply.send(answer).await?;
            if disposition == Disposition::Judged {
                self.jetstream.remove_object(&batch).await;
            }
            anyhow::Ok(())
        };
        if let Err(error) = done.await {
            // The server will deliver it again. Its alerts are stored once.
            tracing::warn!(error = %error, sequence, "a batch cannot be acknowledged");
        }
    }

    /// Judges a batch that was delivered this many times, and stores its results.
    async fn judge(&self, batch: &StoredBatch, delivered: u64) -> Disposition {
        if self.is_stopping() {
            return shutting_down();
        }
        let tenant = match value(&batch.headers, header::TENANT) {
            None => None,
            Some(name) => match self.ingest.tenants.iter().position(|known| **known == *name) {
                Some(tenant) => Some(tenant),
                None => return Disposition::DeadLetter(format!("unknown tenant {name}")),
            },
        };
        // To judge it again and again would use up its rules' alerts of each minute.
        if let Some(reason) = tenant.and_then(|tenant| self.ingest.sinks.refuse(tenant)) {
            return Disposition::Held(reason);
        }
        let client: Arc<str> = value(&batch.headers, header::CLIENT).unwrap_or(PUBLISHER).into();
        let mut permit = self.ingest.budget.permit(&client);
        let mut needed = match self.size(batch, delivered).await {
            Ok(size) => size,
            Err(disposition) => return disposition,
        };
        let judged = loop {
            let waited = tokio::select! {
                biased;
                waited = permit.wait_for(needed) => waited,
                () = self.ingest.stopping.cancelled() => return shutting_down(),
            };
            if let Err(over) = waited {
                return over.into();
            }
            match self.judge_once(batch, tenant, &client, delivered, &mut permit).await {
                Ok(judged) => break judged,
                // The results of other batches use the memory. It is judged again once there is enough for both.
                Err(Retried::Needs(bytes)) => needed = bytes,
                Err(Retried::Not(disposition)) => return disposition,
            }
        };
        self.keep(judged).await
    }

    /// Returns the size of a batch in bytes, which may be in an object of any length.
    async fn size(&self, batch: &StoredBatch, delivered: u64) -> Result<u64, Disposition> {
        let Some(name) = value(&batch.headers, header::OBJECT) else { return Ok(batch.payload.len() as u64) };
        match self.jetstream.object(name).await.map_err(unavailable)? {
            Entry::There(object) => Ok(object.size),
            // Our own objects are removed only after their batch was judged, so this batch was judged before.
            Entry::Removed if Some(name) == value(&batch.headers, header::BATCH) => Err(Disposition::Judged),
            // Another publisher may store it late.
            _ if delivered < u64::from(self.jetstream.settings.attempts) => {
                Err(Disposition::Retry(format!("object {name} is missing"), pause_after(delivered)))
            }
            _ => Err(Disposition::DeadLetter(format!("given up after {delivered} attempts: object {name} is missing"))),
        }
    }

    /// Returns the content of a batch.
    async fn read(&self, batch: &StoredBatch) -> Result<Bytes, Disposition> {
        match value(&batch.headers, header::OBJECT) {
            None => Ok(batch.payload.clone()),
            Some(name) => Ok(self.jetstream.read_object(name).await.map_err(unavailable)?.into()),
        }
    }

    /// Judges a batch once.
    async fn judge_once(
        &self,
        batch: &StoredBatch,
        tenant: Option<usize>,
        client: &Arc<str>,
        delivered: u64,
        permit: &mut Permit,
    ) -> Result<JudgedBatch, Retried> {
        let id = value(&batch.headers, header::BATCH).map(Arc::from);
        let id = id.unwrap_or_else(|| format!("{}-{}", self.jetstream.name("records"), batch.sequence).into());
        let judging = Batch { body: self.read(batch).await?, tenant, client: Arc::clone(client), id };
        let judged = if delivered > 1 {
            self.judge_again(batch.sequence, judging, permit).await?
        } else {
            let _shared = self.alone.read().await;
            self.ingest.judge(judging, permit).await
        };
        judged.map_err(|not_taken| match not_taken {
            NotTaken::OverBudget(OverBudget::Now(needed)) => Retried::Needs(needed),
            other => Retried::Not(other.into()),
        })
    }

    /// Judges a batch that was delivered before, and notes that at the server meanwhile. Only a replica that dies leaves
    /// the note. With such a note the batch is judged alone: if it kills its replica, no other batch is blamed.
    async fn judge_again(
        &self,
        sequence: u64,
        batch: Batch,
        permit: &mut Permit,
    ) -> Result<Result<JudgedBatch, NotTaken>, Disposition> {
        let before = self.jetstream.attempts(sequence).await.map_err(unavailable)?;
        if before >= self.jetstream.settings.attempts {
            let text = format!("given up: {before} replicas stopped while they judged it");
            return Err(Disposition::DeadLetter(text));
        }
        let (_shared, _alone) =
            if before == 0 { (Some(self.alone.read().await), None) } else { (None, Some(self.alone.write().await)) };
        if let Err(error) = self.jetstream.set_attempts(sequence, before + 1).await {
            // The server may have noted it although its answer did not arrive.
            self.end_attempt(sequence, before).await;
            return Err(unavailable(error));
        }
        let judged = self.ingest.judge(batch, permit).await;
        self.end_attempt(sequence, if judged.is_ok() { 0 } else { before }).await;
        Ok(judged)
    }

    /// Removes the note, unless the service has to stop before the server is back.
    async fn end_attempt(&self, sequence: u64, before: u32) {
        let mut failures = 0;
        while let Err(error) = self.jetstream.set_attempts(sequence, before).await {
            failures += 1;
            tracing::debug!(error = %error, sequence, "the end of an attempt cannot be noted");
            if self.pause(failures).await {
                return;
            }
        }
    }

    /// Pauses after this many failures, or until the service stops. Returns whether it does.
    async fn pause(&self, failures: u64) -> bool {
        tokio::select! {
            biased;
            () = self.ingest.stopping.cancelled() => true,
            () = sleep(pause_after(failures)) => false,
        }
    }

    /// Stores the results of a batch. While that is not possible, the batch stays here, unless only its tenant's alerts
    /// are not taken.
    async fn keep(&self, judged: JudgedBatch) -> Disposition {
        let mut failures = 0;
        while let Err(NotWritten(reason)) = self.ingest.keep(&judged).await {
            failures += 1;
            if failures == 1 {
                tracing::warn!(reason, batch = &*judged.id, "the results of a batch cannot be stored; they wait");
            }
            if self.pause(failures).await {
                return shutting_down();
            }
            // A tenant's spool is full. That must not hold up others.
            let tenants: BTreeSet<_> = judged.alerts.iter().map(|alert| alert.tenant).collect();
            let refusal = tenants.into_iter().find_map(|tenant| self.ingest.sinks.refuse(tenant));
            if let Some(reason) = refusal.filter(|_| self.ingest.obstacles().is_empty()) {
                self.ingest.settle(&judged, false).await;
                return Disposition::Held(reason);
            }
        }
        self.ingest.settle(&judged, true).await;
        self.ingest.count(judged);
        Disposition::Judged
    }
}

/// The server cannot be asked now.
fn unavailable(error: impl Into<anyhow::Error>) -> Disposition {
    Disposition::Retry(format!("{:#}", error.into()), FIRST_PAUSE)
}

/// The reason why judging a batch once gave no result.
enum Retried {
    /// It and its results need this many bytes of memory.
    Needs(u64),
    Not(Disposition),
}

impl From<Disposition> for Retried {
    fn from(disposition: Disposition) -> Self {
        Self::Not(disposition)
    }
}

/// A replica that stops gives a batch to another one immediately.
fn shutting_down() -> Disposition {
    Disposition::Retry("the replica is shutting down".to_owned(), Duration::ZERO)
}

impl From<OverBudget> for Disposition {
    fn from(over: OverBudget) -> Self {
        match over {
            OverBudget::Now(_) => Self::Retry("the memory budget is used up".to_owned(), FIRST_PAUSE),
            OverBudget::Always(limit) => Self::DeadLetter(format!(
                "it and its results need more than {limit} bytes, which is its client's part of in-flight; raise \
                 in-flight, or send fewer records at once"
            )),
        }
    }
}

impl From<NotTaken> for Disposition {
    fn from(not_taken: NotTaken) -> Self {
        match not_taken {
            NotTaken::Refused(Refused::Unreadable { place, reason }) => Self::DeadLetter(format!("{place}: {reason}")),
            NotTaken::Refused(Refused::TooLarge(reason)) => Self::DeadLetter(reason),
            NotTaken::Refused(Refused::NotReady(reason)) => Self::Retry(reason, LONGEST_PAUSE),
            NotTaken::OverBudget(over) => over.into(),
            NotTaken::Refused(Refused::NotYet(reason)) => Self::Retry(reason, LOOK),
            NotTaken::NotKept(reason) | NotTaken::NotStored(reason) => Self::Retry(reason, FIRST_PAUSE),
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
        let always = NotTaken::OverBudget(OverBudget::Always(1 << 20));
        assert!(matches!(Disposition::from(always), Disposition::DeadLetter(_)));
        for temporary in [
            NotTaken::Refused(Refused::NotReady("no rules".to_owned())),
            NotTaken::Refused(Refused::NotYet("no rules yet".to_owned())),
            NotTaken::OverBudget(OverBudget::Now(1)),
            NotTaken::NotKept("the disk is full".to_owned()),
            NotTaken::NotStored("no server".to_owned()),
        ] {
            assert!(matches!(Disposition::from(temporary), Disposition::Retry(..)));
        }
    }
}
