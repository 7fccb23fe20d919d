//! Decisions that look random and are the same for each seed (`SplitMix64`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The dice of one simulation. Clones go on with the same sequence.
#[derive(Clone)]
pub(super) struct Dice(Arc<AtomicU64>);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
    }

    fn next(&self) -> u64 {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, which is not 0.
    pub(super) fn below(&self, end: u64) -> u64 {
        self.next() % end
    }

    /// Returns an index of a list of this length, which is not 0.
    pub(super) fn index(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("an index")
    }

    /// Returns whether something happens that happens once in so many times.
    pub(super) fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Returns a number from 0 to 1.
    pub(super) fn share(&self) -> f64 {
        f64::from(u32::try_from(self.below(1 << 32)).expect("it is smaller")) / f64::from(u32::MAX)
    }

    /// Returns a time up to this one.
    pub(super) fn up_to(&self, time: Duration) -> Duration {
        let most = u64::try_from(time.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.below(most + 1))
    }
}
