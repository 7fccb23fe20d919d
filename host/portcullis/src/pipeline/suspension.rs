//! When a rule that faults is asked no more, and when it is tried again.

use jiff::{SignedDuration, Timestamp};

use crate::limits::Limits;
use crate::pipeline::Notice;

/// How many events a rule is not asked about when it is suspended for the first time; each time again four times as many.
const FIRST: u64 = 64;

/// The most events that a rule is not asked about before it is tried again.
const LONGEST: u64 = 65_536;

/// How long of the events' time it is not asked, for each of [`FIRST`] events: where few events concern a rule, so many of
/// them could take days, and trying it costs next to nothing.
const FIRST_WAIT: SignedDuration = SignedDuration::from_mins(1);

/// The longest that a rule is not asked, of the events' time.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// One rule's record of faults. It counts events, looks at their times and at no clock: what is suspended in a live run is
/// suspended in its replay, and how much of everybody's time a rule can waste is bounded whatever the load.
pub(super) struct Suspension {
    /// Faults until it is suspended; 0 is never.
    after: u32,
    /// Faults that answers have not made up for.
    faults: u32,
    /// Answers since the last that made up for a fault.
    answers: u32,
    /// Events that it is not asked about any more.
    left: u64,
    /// Unless they are of this time or later.
    until: Option<Timestamp>,
    /// For how many it will be suspended next.
    next: u64,
    suspended: bool,
}

impl Suspension {
    pub(super) fn new(after: u32) -> Self {
        Self { after, faults: 0, answers: 0, left: 0, until: None, next: FIRST, suspended: false }
    }

    /// Whether the rule is not asked about an event of this time, and about how many more.
    pub(super) fn passes_over(&mut self, time: impl FnOnce() -> Option<Timestamp>) -> Option<u64> {
        let left = self.left.checked_sub(1)?;
        let is_over = self.until.is_some_and(|until| time().is_some_and(|time| time >= until));
        self.left = if is_over { 0 } else { left };
        (!is_over).then_some(left)
    }

    /// It answered.
    pub(super) fn answered(&mut self) -> Option<Notice> {
        self.answers += 1;
        if self.answers == Limits::FORGIVEN_AFTER {
            self.answers = 0;
            self.faults = self.faults.saturating_sub(1);
            if self.faults == 0 {
                self.next = FIRST;
            }
        }
        std::mem::take(&mut self.suspended).then_some(Notice::Resumed)
    }

    /// It faulted on an event of this time. A rule that comes back from suspension is on probation: the next fault suspends it again, until
    /// answers have made up for those before.
    pub(super) fn faulted(&mut self, time: Option<Timestamp>) -> Option<Notice> {
        self.faults += 1;
        if self.after == 0 || self.faults < self.after {
            return None;
        }
        self.faults = self.after - 1;
        let times = i32::try_from(self.next / FIRST).unwrap_or(i32::MAX);
        let wait = (FIRST_WAIT * times).min(LONGEST_WAIT);
        self.left = self.next;
        self.until = time.and_then(|time| time.checked_add(wait).ok());
        self.next = (4 * self.next).min(LONGEST);
        self.suspended = true;
        Some(Notice::Suspended { events: self.left, minutes: wait.as_mins() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On which of so many events a rule is asked that faults on those that `faults` names by their number; the events are
    /// so many seconds apart.
    fn asked(suspension: &mut Suspension, events: u64, seconds: i64, faults: impl Fn(u64) -> bool) -> Vec<u64> {
        (0..events)
            .filter(|n| {
                let time = Timestamp::from_second(i64::try_from(*n).expect("few") * seconds).ok();
                let asked = suspension.passes_over(|| time).is_none();
                if asked {
                    let _ = if faults(*n) { suspension.faulted(time) } else { suspension.answered() };
                }
                asked
            })
            .collect()
    }

    #[test]
    fn a_rule_that_always_faults_is_tried_ever_more_seldom() {
        let tried = asked(&mut Suspension::new(3), 400_000, 0, |_| true);
        let waits: Vec<u64> = tried.array_windows().map(|[before, after]| after - before - 1).collect();
        assert_eq!(waits, [0, 0, 64, 256, 1024, 4096, 16_384, 65_536, 65_536, 65_536, 65_536, 65_536]);
    }

    #[test]
    fn where_few_events_concern_it_their_time_counts() {
        let tried = asked(&mut Suspension::new(1), 1000, 30, |_| true);
        let waits: Vec<u64> = tried.array_windows().map(|[before, after]| (after - before) * 30 / 60).collect();
        assert_eq!(waits, [1, 4, 16, 60, 60, 60, 60, 60, 60, 60], "in minutes");
    }

    #[test]
    fn one_that_faults_on_every_second_event_does_not_get_away_with_it() {
        assert!(asked(&mut Suspension::new(10), 1_000_000, 0, |n| n % 2 == 0).len() < 2_000);
    }

    #[test]
    fn a_fault_in_more_than_a_thousand_events_never_suspends() {
        assert_eq!(asked(&mut Suspension::new(10), 1_000_000, 0, |n| n % 1001 == 0).len(), 1_000_000);
        assert_eq!(asked(&mut Suspension::new(0), 1_000, 0, |_| true).len(), 1_000, "0 is never");
    }

    #[test]
    fn whoever_comes_back_is_on_probation_until_it_has_made_up() {
        let mut suspension = Suspension::new(2);
        let suspended = |events, minutes| Some(Notice::Suspended { events, minutes });
        assert_eq!((suspension.faulted(None), suspension.faulted(None)), (None, suspended(64, 1)));
        assert_eq!(asked(&mut suspension, 64, 0, |_| false).len(), 0);
        assert_eq!((suspension.answered(), suspension.answered()), (Some(Notice::Resumed), None));
        assert_eq!(suspension.faulted(None), suspended(256, 4));
        assert_eq!(asked(&mut suspension, 256 + 1_000, 0, |_| false).len(), 1_000);
        assert_eq!((suspension.faulted(None), suspension.faulted(None)), (None, suspended(64, 1)));
    }
}
