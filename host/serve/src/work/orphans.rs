//! Orphans: batches that a server no longer delivers after it was killed.
//!
//! After a hard restart, a server of 2.9 may hold a message in the stream, take it for delivered, and never deliver it
//! again. It either missed that the message was acknowledged and removed, or that it was never acknowledged. The two
//! cases cannot be told apart. So the message is judged, perhaps for the second time, which stores no second alert, and
//! then removed.
//!
//! A message is an orphan if the server takes it for done: it is below the sequence number up to which all messages are
//! done, or no message is in flight or waits. A message that is only old may still be in flight at another replica.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Disposition, LOOK, Worker};
use crate::jetstream::CurrentProblem;
use crate::machine::within;

/// Maximum number of orphans that are looked at in one round.
const AT_ONCE: usize = 256;

/// Maximum time of a round, after which the lease is renewed. A sink that is down can make it longer, and then another
/// replica may judge the same batch, which stores no second alert.
const ROUND: Duration = Duration::from_secs(15);

/// The lease of the replica that judges orphans.
const LEASE: &str = "orphans";

impl Worker {
    /// Judges orphans until the service stops, while no other replica does.
    pub(crate) async fn watch_orphans(self: Arc<Self>) {
        let (mut before, mut problem) = (BTreeSet::new(), CurrentProblem::default());
        while !self.is_stopping() {
            let result = self.judge_orphans(&before).await;
            problem.set(result.as_ref().err().map(|error| format!("cannot look for orphans: {error:#}")));
            before = result.unwrap_or_default();
            within(LOOK, self.ingest.stopping.cancelled()).await;
        }
    }

    /// Judges the orphans that were there in the last round already, because a server may take a moment to remove a
    /// message that is done. Returns those that are new.
    async fn judge_orphans(&self, before: &BTreeSet<u64>) -> anyhow::Result<BTreeSet<u64>> {
        let mut found = BTreeSet::new();
        let is_held_up = self.jetstream.problem().is_some() || !self.ingest.obstacles().is_empty();
        if is_held_up || !self.jetstream.take_lease(LEASE, &self.replica).await? {
            return Ok(found);
        }
        let progress = self.jetstream.broker.progress().await?;
        let is_idle = progress.in_flight == 0 && progress.waiting == 0;
        let last = if is_idle { progress.delivered } else { progress.done };
        let mut from = 1;
        let began = Instant::now();
        for _ in 0..AT_ONCE {
            // The lease does not last much longer.
            if from > last || self.is_stopping() || began.elapsed() > ROUND {
                break;
            }
            let Some(batch) = self.jetstream.broker.stored_batch(from).await? else { break };
            let sequence = batch.sequence;
            from = sequence + 1;
            if sequence > last {
                break;
            }
            if !before.contains(&sequence) {
                found.insert(sequence);
                continue;
            }
            let _in_flight = self.ingest.in_flight.token();
            // It was delivered before, and may have killed its replica.
            match self.judge(&batch, 2).await {
                Disposition::Judged => self.jetstream.remove_object(&batch).await,
                Disposition::DeadLetter(reason) => self.jetstream.dead_letter(&batch, &reason).await?,
                Disposition::Retry(..) | Disposition::Held(_) => continue,
            }
            tracing::info!(sequence, "judged a batch that the server no longer delivers");
            self.ingest.stats.handled("orphan");
            self.jetstream.broker.remove_batch(sequence).await?;
        }
        Ok(found)
    }
}
