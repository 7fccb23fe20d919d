//! Alerts that belong together: one rule's, with equal dedup, within its dedup period.

mod incident;

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

pub use incident::Incident;

use crate::Alert;
use crate::package::Spec;

/// So many incidents are open at once at the most; beyond, the one that would close first is closed. With what each holds,
/// they stay under 100 MB.
const MAX_OPEN: usize = 10_000;

/// An event of the future has a wrong clock behind it: its time counts as missing from here on.
const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// Groups alerts into incidents, by the times of their events.
///
/// An incident lasts for its rule's `DedupPeriodMinutes`: no two of its alerts are further apart. It closes when an event is
/// seen that is later than its first alert by the period. What comes late, out of order, joins an incident that it fits into
/// and that is still open, or else makes one of its own, which closes when the time seen has gone on by the period. An alert
/// without a time, or with one that is more than a day ahead of the clock, takes the latest time seen.
pub struct Incidents {
    clock: fn() -> Timestamp,
    max_open: usize,
    /// The latest time of an event.
    latest: Option<Timestamp>,
    next: u64,
    open: HashMap<u64, Open>,
    by_key: HashMap<Key, Vec<u64>>,
    /// The open ones by when they close; those without a time close last.
    closing: BTreeSet<(Timestamp, u64)>,
    below_threshold: u64,
}

/// Tenant, rule and dedup.
type Key = (String, String, String);

fn key_of(alert: &Alert) -> Key {
    (alert.tenant.clone(), alert.rule_id.clone(), alert.dedup.clone())
}

struct Open {
    incident: Incident,
    threshold: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    closes: Timestamp,
}

impl Incidents {
    /// No incidents yet. The clock tells times of the future apart.
    #[must_use]
    pub fn new(clock: fn() -> Timestamp) -> Self {
        Self {
            clock,
            max_open: MAX_OPEN,
            latest: None,
            next: 0,
            open: HashMap::new(),
            by_key: HashMap::new(),
            closing: BTreeSet::new(),
            below_threshold: 0,
        }
    }

    /// The alerts that made no incident, because their rule's `Threshold` was not reached before the incident closed.
    #[must_use]
    pub fn below_threshold(&self) -> u64 {
        self.below_threshold
    }

    /// Time has come this far: the incidents that close by it. `time` is an event's, as its record has it.
    pub fn advance(&mut self, time: Option<&str>) -> Vec<Incident> {
        let Some(time) = self.known(time).max(self.latest) else { return Vec::new() };
        self.latest = Some(time);
        let mut closed = Vec::new();
        while let Some((closes, id)) = self.closing.first().copied()
            && closes <= time
        {
            closed.extend(self.close(id));
        }
        closed
    }

    /// Adds an alert of the rule with this spec. If it is the one with which an incident reaches the rule's `Threshold`, the
    /// incident's first alert, which is to be shown; and the incident that had to close to make room.
    pub fn add(&mut self, alert: &Alert, spec: &Spec) -> (Option<Alert>, Option<Incident>) {
        let time = self.known(alert.event_time.as_deref()).or(self.latest);
        let period = SignedDuration::from_mins(i64::from(spec.dedup_period_minutes));
        let key = key_of(alert);
        let mut made_room = None;
        let id = if let Some(id) = self.fitting(&key, time, period) {
            id
        } else {
            made_room = self.make_room();
            let closes = time.max(self.latest).and_then(|from| from.checked_add(period).ok());
            self.begin(key, alert, spec, closes.unwrap_or(Timestamp::MAX))
        };
        let shown = self.open.get_mut(&id).and_then(|open| open.add(alert, time));
        self.give_end(id, time.and_then(|time| time.checked_add(period).ok()));
        (shown, made_room)
    }

    /// The open incident that an alert of this time fits into: of several the one that has to stretch the least, and of these
    /// the latest.
    fn fitting(&self, key: &Key, time: Option<Timestamp>, period: SignedDuration) -> Option<u64> {
        let stretch = |id: &u64| Some((self.open.get(id)?.stretch(time, period)?, *id));
        let ids = self.by_key.get(key)?;
        ids.iter().rev().filter_map(stretch).min_by_key(|(by, _)| *by).map(|(_, id)| id)
    }

    /// An incident that began before any time was known learns when it closes.
    fn give_end(&mut self, id: u64, end: Option<Timestamp>) {
        if let (Some(open), Some(end)) = (self.open.get_mut(&id), end)
            && open.closes == Timestamp::MAX
        {
            self.closing.remove(&(open.closes, id));
            open.closes = end;
            self.closing.insert((end, id));
        }
    }

    fn make_room(&mut self) -> Option<Incident> {
        let (_, first) = self.closing.first().copied()?;
        if self.open.len() < self.max_open { None } else { self.close(first) }
    }

    fn begin(&mut self, key: Key, alert: &Alert, spec: &Spec, closes: Timestamp) -> u64 {
        let id = self.next;
        self.next += 1;
        self.open.insert(id, Open::new(alert, spec, closes));
        self.by_key.entry(key).or_default().push(id);
        self.closing.insert((closes, id));
        id
    }

    /// Closes all incidents, in the order in which they would close.
    pub fn close_all(&mut self) -> Vec<Incident> {
        let mut closed = Vec::new();
        while let Some((_, id)) = self.closing.first().copied() {
            closed.extend(self.close(id));
        }
        closed
    }

    /// Closes one; it is one if it has reached its rule's threshold.
    fn close(&mut self, id: u64) -> Option<Incident> {
        let Open { mut incident, threshold, first, last, closes } = self.open.remove(&id)?;
        self.closing.remove(&(closes, id));
        let key = key_of(&incident.alert);
        if let Some(ids) = self.by_key.get_mut(&key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_key.remove(&key);
            }
        }
        if incident.count < threshold {
            self.below_threshold += incident.count;
            return None;
        }
        incident.first_time = first.map(|time| time.to_string());
        incident.last_time = last.map(|time| time.to_string());
        Some(incident)
    }

    fn known(&self, time: Option<&str>) -> Option<Timestamp> {
        let time: Timestamp = time?.parse().ok()?;
        // Only a time that would be a step ahead is worth a look at the clock.
        let ahead = self.latest.is_none_or(|latest| time > latest)
            && (self.clock)().checked_add(MAX_AHEAD).is_ok_and(|most| time > most);
        (!ahead).then_some(time)
    }
}

impl Open {
    fn new(alert: &Alert, spec: &Spec, closes: Timestamp) -> Self {
        let incident = Incident::of(alert, spec);
        Self { incident, threshold: u64::from(spec.threshold), first: None, last: None, closes }
    }

    /// By how much it would last longer with an alert of this time, if that would be less than the period from all others.
    fn stretch(&self, time: Option<Timestamp>, period: SignedDuration) -> Option<SignedDuration> {
        let (Some(first), Some(last), Some(time)) = (self.first, self.last, time) else {
            return Some(SignedDuration::ZERO);
        };
        let longer = last.max(time).duration_since(first.min(time));
        (longer < period).then(|| longer - last.duration_since(first))
    }

    /// Adds an alert; the incident's first, if it is with this one that the threshold is reached.
    fn add(&mut self, alert: &Alert, time: Option<Timestamp>) -> Option<Alert> {
        self.incident.count += 1;
        self.first = [self.first, time].into_iter().flatten().min();
        self.last = self.last.max(time);
        self.incident.sum_up(alert);
        (self.incident.count == self.threshold).then(|| self.incident.alert.clone())
    }
}

#[cfg(test)]
mod tests;
