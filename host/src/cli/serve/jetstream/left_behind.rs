//! Deliveries that a server which was killed has lost sight of.
//!
//! Behind a hard restart, a server of 2.9 may hold a message for delivered that is in the stream all the same, and deliver it to
//! nobody any more: it had not noted yet that it was acknowledged and removed, or that it was never acknowledged. Which of the
//! two it was is not to be told: so it is judged, perhaps once more, which makes no second alert, and then removed.

use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;

use super::super::{InHand, Service};
use super::JetStream;
use super::working::Fate;

/// So many are looked after at a time.
const AT_ONCE: usize = 256;

impl Service {
    /// Judges what lies in the stream up to this place, up to which everything has been delivered, and has been there for so
    /// long that it would have been delivered again.
    pub(super) async fn judge_left_behind(&self, jetstream: &JetStream, delivered: u64) -> anyhow::Result<()> {
        let stream = jetstream.context.get_stream(jetstream.name("records")).await.map_err(|error| anyhow!(error))?;
        let state = &stream.cached_info().state;
        let last = delivered.min(state.last_sequence);
        let mut from = state.first_sequence;
        for _ in 0..AT_ONCE {
            if state.messages == 0 || from > last || *self.ends.borrow() {
                break;
            }
            let Ok(message) = stream.get_first_raw_message_by_subject(">", from).await else { break };
            from = message.sequence + 1;
            if message.sequence > last || is_young(message.time.unix_timestamp(), 3 * jetstream.settings.ack_wait) {
                continue;
            }
            let _in_hand = InHand::new(&self.in_hand);
            let (headers, payload, sequence) = (Some(&message.headers), &message.payload, message.sequence);
            match self.judge_message(jetstream, headers, payload, sequence).await {
                Fate::Judged => jetstream.remove_object(headers).await,
                Fate::Dead(reason) => jetstream.bury(headers, payload, sequence, &reason).await?,
                Fate::Again(_) => continue,
            }
            tracing::info!(sequence, "a delivery that the server had lost sight of has been judged");
            self.figures.handled("left-behind");
            stream.delete_message(sequence).await.map_err(|error| anyhow!(error))?;
        }
        Ok(())
    }
}

/// Whether something of this second is so young that others may have it in hand.
fn is_young(second: i64, age: Duration) -> bool {
    let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    Timestamp::now().as_second() - second <= age
}
