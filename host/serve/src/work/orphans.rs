//! Orphans: batches that a server no longer delivers after it was killed.
//!
//! After a hard restart, a server of 2.9 may hold a message in the stream, take it for delivered, and never deliver it
//! again. It either missed that the message was acknowledged and removed, or that it was never acknowledged. The two
//! cases cannot be told apart. So the message is judged, perhaps for the second time, which stores no second alert, and
//! then removed.

use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;

use super::{Disposition, Worker};

/// Maximum number of orphans that are judged in one round.
const AT_ONCE: usize = 256;

impl Worker {
    /// Judges messages up to the last delivered sequence number that are so old that the server should have delivered
    /// them again.
    pub(super) async fn judge_orphans(&self, delivered: u64) -> anyhow::Result<()> {
        let stream = self.jetstream.batches().await?;
        let state = &stream.cached_info().state;
        let last = delivered.min(state.last_sequence);
        let mut from = state.first_sequence;
        for _ in 0..AT_ONCE {
            if state.messages == 0 || from > last || self.is_stopping() {
                break;
            }
            let Ok(message) = stream.get_first_raw_message_by_subject(">", from).await else { break };
            from = message.sequence + 1;
            let age = 3 * self.jetstream.settings.ack_wait;
            if message.sequence > last || is_young(message.time.unix_timestamp(), age) {
                continue;
            }
            let _in_flight = self.ingest.in_flight.token();
            let (headers, payload, sequence) = (Some(&message.headers), &message.payload, message.sequence);
            match self.judge_message(headers, payload, sequence).await {
                Disposition::Judged => self.jetstream.remove_object(headers).await,
                Disposition::DeadLetter(reason) => {
                    self.jetstream.dead_letter(headers, payload, sequence, &reason).await?;
                }
                Disposition::Retry(_) => continue,
            }
            tracing::info!(sequence, "judged a batch that the server no longer delivers");
            self.ingest.stats.handled("orphan");
            stream.delete_message(sequence).await.map_err(|error| anyhow!(error))?;
        }
        Ok(())
    }
}

/// Returns whether a message of this second is so young that another replica may have it in flight.
fn is_young(second: i64, age: Duration) -> bool {
    let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    Timestamp::now().as_second() - second <= age
}
