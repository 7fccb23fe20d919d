//! A histogram of durations.

use std::time::Duration;

/// Durations by class, and their sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Number of durations in each class: at most as long as its entry in [`Times::CLASSES`], and longer than the entry
    /// before. The last class has those that are longer than all entries.
    pub counts: [u64; Self::CLASSES.len() + 1],
    /// Sum of all durations.
    pub sum: Duration,
}

impl Times {
    /// Upper bounds of the classes.
    pub const CLASSES: [Duration; 15] = [
        Duration::from_micros(5),
        Duration::from_micros(10),
        Duration::from_micros(25),
        Duration::from_micros(50),
        Duration::from_micros(100),
        Duration::from_micros(250),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2_500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(100),
        Duration::from_millis(500),
        Duration::from_secs(5),
    ];

    /// Counts a duration.
    pub fn add(&mut self, time: Duration) {
        let class = Self::CLASSES.partition_point(|end| *end < time);
        self.counts[class] += 1;
        self.sum = self.sum.saturating_add(time);
    }

    /// Adds the durations that were counted elsewhere.
    pub fn add_all(&mut self, other: &Self) {
        for (own, other) in self.counts.iter_mut().zip(other.counts) {
            *own += other;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_by_class() {
        let mut times = Times::default();
        for time in [Duration::ZERO, Duration::from_micros(5), Duration::from_nanos(5_001), Duration::from_secs(6)] {
            times.add(time);
        }
        let mut twice = times.clone();
        twice.add_all(&times);
        assert_eq!((times.counts[0], times.counts[1], times.counts[15]), (2, 1, 1));
        assert_eq!(twice.counts.iter().sum::<u64>(), 8);
        assert_eq!(twice.sum, 2 * times.sum);
    }
}
