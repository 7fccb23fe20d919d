//! Pauses between attempts.

use std::time::Duration;

/// The pause after the first failure.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Maximum pause.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Returns the pause after this many failures, counted from 1. It doubles with each, up to the longest.
pub(crate) fn pause_after(failures: u64) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_with_each_failure_up_to_the_longest() {
        assert_eq!([1, 2, 3].map(pause_after), [500, 1_000, 2_000].map(Duration::from_millis));
        assert_eq!(pause_after(7), LONGEST_PAUSE);
        assert_eq!(pause_after(u64::MAX), LONGEST_PAUSE);
    }
}
