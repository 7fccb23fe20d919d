//! Rings of counts of the last sixty seconds or minutes.

use std::collections::VecDeque;

/// The number of units that are kept.
const KEPT: usize = 60;

/// Adds counts to sums, unit by unit.
pub(super) fn add(sums: &mut [u64; KEPT], counts: &[u64; KEPT]) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}

/// Counts by unit of time.
pub(crate) struct Ring {
    /// The length of the unit in seconds.
    unit: i64,
    /// The unit of the newest count, since 1970.
    at: i64,
    counts: VecDeque<u64>,
}

impl Ring {
    pub(crate) fn of_seconds() -> Self {
        Self::new(1)
    }

    pub(crate) fn of_minutes() -> Self {
        Self::new(60)
    }

    fn new(unit: i64) -> Self {
        Self { unit, at: 0, counts: VecDeque::from([0; KEPT]) }
    }

    /// Adds a count at this second.
    pub(crate) fn add(&mut self, second: i64, count: u64) {
        self.advance(second);
        if let Some(last) = self.counts.back_mut() {
            *last += count;
        }
    }

    /// Returns the counts of the units up to this second's, with the oldest first.
    pub(crate) fn counts(&mut self, second: i64) -> [u64; KEPT] {
        self.advance(second);
        let mut counts = [0; KEPT];
        for (count, kept) in counts.iter_mut().zip(&self.counts) {
            *count = *kept;
        }
        counts
    }

    fn advance(&mut self, second: i64) {
        let now = second.div_euclid(self.unit);
        // If the clock is set back a little, counts go to the newest unit; if it is set back a lot, the ring begins anew.
        if usize::try_from(self.at - now).is_ok_and(|back| back > KEPT) {
            *self = Self::new(self.unit);
        }
        for _ in 0..usize::try_from(now - self.at).unwrap_or(0).min(KEPT) {
            self.counts.pop_front();
            self.counts.push_back(0);
        }
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_entries_are_dropped() {
        let mut ring = Ring::of_minutes();
        ring.add(1_000_000_020, 3);
        ring.add(1_000_000_079, 4);
        ring.add(1_000_000_080, 1);
        assert_eq!(ring.counts(1_000_000_081)[57..], [0, 7, 1]);
        assert_eq!(ring.counts(1_000_000_200)[55..], [0, 7, 1, 0, 0]);
        assert_eq!(ring.counts(1_000_900_000), [0; 60]);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_counts() {
        let mut ring = Ring::of_seconds();
        ring.add(1_000_000_000, 3);
        ring.add(999_999_990, 1);
        assert_eq!(ring.counts(1_000_000_000)[59], 4);
        ring.add(999_913_600, 5);
        ring.add(999_913_601, 6);
        assert_eq!(ring.counts(999_913_602)[56..], [0, 5, 6, 0]);
    }
}
