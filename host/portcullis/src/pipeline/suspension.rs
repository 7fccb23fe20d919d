//! Suspends rules that fault.

use jiff::{SignedDuration, Timestamp};

use crate::limits::Limits;
use crate::pipeline::Notice;

/// Events for which a rule is not called in its first suspension. Each further suspension has four times as many.
const FIRST: u64 = 64;

/// Maximum number of events in a suspension.
const LONGEST: u64 = 65_536;

/// Event time after which a suspension ends, for each [`FIRST`] of its events. Where few events concern a rule,
/// counting them alone could take days, and trying the rule costs almost nothing.
const FIRST_WAIT: SignedDuration = SignedDuration::from_mins(1);

/// Maximum event time of a suspension.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// Counts the faults of one rule. Suspension depends on the number and times of events, not on a clock. So a replay
/// suspends the same events, and the share of time that a rule can waste is bounded.
pub(super) struct Suspension {
    /// Faults until it is suspended; 0 means never.
    after: u32,
    /// Faults that answers have not cancelled.
    faults: u32,
    /// Answers since the last one that cancelled a fault.
    answers: u32,
    /// Events that are left of the suspension.
    left: u64,
    /// Event time at which the suspension ends.
    until: Option<Timestamp>,
    /// Events of the next suspension.
    next: u64,
    suspended: bool,
}

impl Suspension {
    pub(super) fn new(after: u32) -> Self {
        Self { after, faults: 0, answers: 0, left: 0, until: None, next: FIRST, suspended: false }
    }

    /// Returns whether to skip the rule for an event of this time: if so, the number of events that are left.
    pub(super) fn skips(&mut self, time: impl FnOnce() -> Option<Timestamp>) -> Option<u64> {
        let left = self.left.checked_sub(1)?;
        let is_over = self.until.is_some_and(|until| time().is_some_and(|time| time >= until));
        self.left = if is_over { 0 } else { left };
        (!is_over).then_some(left)
    }

    /// Counts an answer.
    pub(super) fn answered(&mut self) -> Option<Notice> {
        self.answers += 1;
        if self.answers == Limits::FORGIVEN_AFTER {
            self.answers = 0;
            self.faults = self.faults.saturating_sub(1);
            if self.faults == 0 {
                self.next = FIRST;
            }
        }
        std::mem::take(&mut self.suspended).then_some(Notice::SuspensionEnded)
    }

    /// Counts a fault on an event of this time. After a suspension, the next fault suspends the rule again, until
    /// answers have cancelled the faults before.
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

    /// Returns the numbers of the events for which a rule is called that faults where `faults` says so. Events are
    /// `seconds` apart.
    fn asked(suspension: &mut Suspension, events: u64, seconds: i64, faults: impl Fn(u64) -> bool) -> Vec<u64> {
        (0..events)
            .filter(|n| {
                let time = Timestamp::from_second(i64::try_from(*n).expect("few") * seconds).ok();
                let asked = suspension.skips(|| time).is_none();
                if asked {
                    let _ = if faults(*n) { suspension.faulted(time) } else { suspension.answered() };
                }
                asked
            })
            .collect()
    }

    #[test]
    fn suspensions_of_a_rule_that_always_faults_get_longer() {
        let tried = asked(&mut Suspension::new(3), 400_000, 0, |_| true);
        let waits: Vec<u64> = tried.array_windows().map(|[before, after]| after - before - 1).collect();
        assert_eq!(waits, [0, 0, 64, 256, 1024, 4096, 16_384, 65_536, 65_536, 65_536, 65_536, 65_536]);
    }

    #[test]
    fn if_a_rule_has_few_events_their_time_ends_a_suspension() {
        let tried = asked(&mut Suspension::new(1), 1000, 30, |_| true);
        let waits: Vec<u64> = tried.array_windows().map(|[before, after]| (after - before) * 30 / 60).collect();
        assert_eq!(waits, [1, 4, 16, 60, 60, 60, 60, 60, 60, 60], "in minutes");
    }

    #[test]
    fn a_rule_that_faults_on_every_second_event_is_suspended() {
        assert!(asked(&mut Suspension::new(10), 1_000_000, 0, |n| n % 2 == 0).len() < 2_000);
    }

    #[test]
    fn a_fault_in_more_than_a_thousand_events_never_suspends() {
        assert_eq!(asked(&mut Suspension::new(10), 1_000_000, 0, |n| n % 1001 == 0).len(), 1_000_000);
        assert_eq!(asked(&mut Suspension::new(0), 1_000, 0, |_| true).len(), 1_000, "0 is never");
    }

    #[test]
    fn after_a_suspension_one_fault_suspends_again_until_answers_cancel_the_faults() {
        let mut suspension = Suspension::new(2);
        let suspended = |events, minutes| Some(Notice::Suspended { events, minutes });
        assert_eq!((suspension.faulted(None), suspension.faulted(None)), (None, suspended(64, 1)));
        assert_eq!(asked(&mut suspension, 64, 0, |_| false).len(), 0);
        assert_eq!((suspension.answered(), suspension.answered()), (Some(Notice::SuspensionEnded), None));
        assert_eq!(suspension.faulted(None), suspended(256, 4));
        assert_eq!(asked(&mut suspension, 256 + 1_000, 0, |_| false).len(), 1_000);
        assert_eq!((suspension.faulted(None), suspension.faulted(None)), (None, suspended(64, 1)));
    }
}
