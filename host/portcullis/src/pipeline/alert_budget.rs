//! Limits a rule's alerts in each minute.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Number of minutes that are counted separately, about two months. Inputs are read one after the other, and the
/// streams of clusters are at different times.
const MINUTES: usize = 100_000;

/// Result of taking an alert from the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Budget {
    /// The budget had an alert left.
    Left,
    /// This is the first match of its minute without an alert left.
    UsedUp,
    /// The budget of this minute was used up before.
    Exceeded,
}

/// Counts one rule's matches by the minute of their events. With the time of events, a day's records that are read in a
/// second have a day's budget.
pub(super) struct AlertBudget {
    limit: u32,
    /// Number of matches in each minute.
    matches: BTreeMap<i64, u64>,
}

impl AlertBudget {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, matches: BTreeMap::new() }
    }

    /// Returns the number of alerts for each minute.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Takes an alert from the budget of the minute that contains this second. A minute that was forgotten starts
    /// again.
    pub(super) fn take(&mut self, second: i64) -> Budget {
        let minute = second.div_euclid(60);
        if self.matches.len() == MINUTES && !self.matches.contains_key(&minute) {
            self.matches.pop_first();
        }
        let matches = self.matches.entry(minute).or_default();
        *matches += 1;
        match (*matches).cmp(&(u64::from(self.limit) + 1)) {
            Ordering::Less => Budget::Left,
            Ordering::Equal => Budget::UsedUp,
            Ordering::Greater => Budget::Exceeded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut AlertBudget, seconds: impl IntoIterator<Item = i64>) -> usize {
        seconds.into_iter().filter(|second| budget.take(*second) == Budget::Left).count()
    }

    #[test]
    fn each_minute_has_its_own_budget() {
        let mut budget = AlertBudget::new(3);
        assert_eq!(taken(&mut budget, 0..60), 3);
        assert_eq!(taken(&mut budget, 60..120), 3);
        assert_eq!(taken(&mut budget, -60..0), 3);
        assert_eq!(taken(&mut budget, -60..120), 0, "in whatever order they come");
    }

    #[test]
    fn using_up_a_budget_is_reported_once_a_minute() {
        let mut budget = AlertBudget::new(1);
        let taken: Vec<Budget> = [0, 1, 2, 60, 61].map(|second| budget.take(second)).to_vec();
        assert_eq!(taken, [Budget::Left, Budget::UsedUp, Budget::Exceeded, Budget::Left, Budget::UsedUp]);
    }

    #[test]
    fn events_far_in_the_past_or_future_do_not_use_up_another_minutes_budget() {
        let mut budget = AlertBudget::new(1);
        assert_eq!(taken(&mut budget, [i64::MAX; 5]), 1);
        let days = || (0..200_000).map(|minute| minute * 60);
        assert_eq!(taken(&mut budget, days()), 200_000);
        assert_eq!(taken(&mut budget, days().take(1440)), 1440, "a day of long ago is judged as if it came alone");
        assert_eq!(budget.matches.len(), MINUTES);
    }
}
