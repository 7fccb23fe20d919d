//! Groups alerts into incidents: alerts of one rule with equal dedup, within its dedup period.

mod incident;

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

pub use incident::Incident;

use crate::package::Spec;
use crate::sandbox::json_length;
use portcullis_alert::Alert;

/// Limit for the open incidents of one rule. Beyond it, the rule's incident that would close first is closed early.
/// Incidents of other rules are not affected.
const MAX_OPEN: usize = 10_000;

/// Limit for the size of one rule's open incidents, in bytes.
const MAX_BYTES: usize = 64 << 20;

/// An event whose time is further ahead of the clock than this counts as an event without a time: its clock is wrong.
const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// Groups alerts into incidents by the times of their events.
///
/// An incident lasts at most for its rule's `DedupPeriodMinutes`, from its first to its last alert. It closes when an
/// event is at least the period later than its first alert. An alert that arrives late or out of order joins an open
/// incident that it fits into. Otherwise it starts a new incident, which closes when the latest time has advanced by
/// the period. An alert without a time, or with a time more than a day ahead of the clock, has the latest time of an
/// event.
pub struct Incidents {
    clock: fn() -> Timestamp,
    max_open: usize,
    max_bytes: usize,
    /// The latest time of an event.
    latest: Option<Timestamp>,
    next: u64,
    open: HashMap<u64, Open>,
    by_key: HashMap<Key, Vec<u64>>,
    /// Open incidents by the time at which they close; those without a time close last.
    closing: BTreeSet<(Timestamp, u64)>,
    by_rule: HashMap<(String, String), RuleIncidents>,
    below_threshold: u64,
}

/// The open incidents of one tenant's rule.
#[derive(Default)]
struct RuleIncidents {
    closing: BTreeSet<(Timestamp, u64)>,
    /// Their size.
    bytes: usize,
}

/// Tenant, rule and dedup.
type Key = (String, String, String);

fn key_of(alert: &Alert) -> Key {
    (alert.tenant.clone(), alert.about.rule_id.clone(), alert.dedup.clone())
}

/// Returns tenant and rule.
fn rule_of(alert: &Alert) -> (String, String) {
    (alert.tenant.clone(), alert.about.rule_id.clone())
}

struct Open {
    incident: Incident,
    threshold: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    closes: Timestamp,
    /// Its size.
    bytes: usize,
}

impl Incidents {
    /// Returns an empty set of incidents. The clock identifies times in the future.
    #[must_use]
    pub fn new(clock: fn() -> Timestamp) -> Self {
        Self {
            clock,
            max_open: MAX_OPEN,
            max_bytes: MAX_BYTES,
            latest: None,
            next: 0,
            open: HashMap::new(),
            by_key: HashMap::new(),
            closing: BTreeSet::new(),
            by_rule: HashMap::new(),
            below_threshold: 0,
        }
    }

    /// Returns the number of alerts that made no incident, because their rule's `Threshold` was not reached before the
    /// incident closed.
    #[must_use]
    pub fn below_threshold(&self) -> u64 {
        self.below_threshold
    }

    /// Advances the latest time to that of an event, and returns the incidents that close.
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

    /// Adds an alert of the rule with this spec. Returns the incident's first alert if the incident reaches the rule's
    /// `Threshold` with this one, so that it can be shown; and the incidents that were closed to make room.
    pub fn add(&mut self, alert: &Alert, spec: &Spec) -> (Option<Alert>, Vec<Incident>) {
        let time = self.known(alert.event_time.as_deref()).or(self.latest);
        let period = SignedDuration::from_mins(i64::from(spec.dedup_period_minutes));
        let key = key_of(alert);
        let rule = rule_of(alert);
        let mut made_room = Vec::new();
        let id = if let Some(id) = self.best_fit(&key, time, period) {
            id
        } else {
            made_room = self.make_room(&rule);
            let closes = time.max(self.latest).and_then(|from| from.checked_add(period).ok());
            self.begin(key, alert, spec, closes.unwrap_or(Timestamp::MAX))
        };
        let shown = self.open.get_mut(&id).and_then(|open| {
            let before = open.bytes;
            let shown = open.add(alert, time);
            self.by_rule.entry(rule).or_default().bytes += open.bytes - before;
            shown
        });
        self.set_closing_time(id, time.and_then(|time| time.checked_add(period).ok()));
        (shown, made_room)
    }

    /// Returns the open incident that an alert of this time fits into: the one that it extends least, and of several
    /// such the latest.
    fn best_fit(&self, key: &Key, time: Option<Timestamp>, period: SignedDuration) -> Option<u64> {
        let stretch = |id: &u64| Some((self.open.get(id)?.stretch(time, period)?, *id));
        let ids = self.by_key.get(key)?;
        ids.iter().rev().filter_map(stretch).min_by_key(|(by, _)| *by).map(|(_, id)| id)
    }

    /// Sets the closing time of an incident that began before any time was known.
    fn set_closing_time(&mut self, id: u64, end: Option<Timestamp>) {
        if let (Some(open), Some(end)) = (self.open.get_mut(&id), end)
            && open.closes == Timestamp::MAX
        {
            let of_rule = self.by_rule.entry(rule_of(&open.incident.alert)).or_default();
            for closing in [&mut self.closing, &mut of_rule.closing] {
                closing.remove(&(open.closes, id));
                closing.insert((end, id));
            }
            open.closes = end;
        }
    }

    /// Closes incidents of a rule until there is room for one more.
    fn make_room(&mut self, rule: &(String, String)) -> Vec<Incident> {
        let mut closed = Vec::new();
        while let Some(of_rule) = self.by_rule.get(rule)
            && (of_rule.closing.len() >= self.max_open || of_rule.bytes >= self.max_bytes)
            && let Some((_, first)) = of_rule.closing.first().copied()
        {
            closed.extend(self.close(first));
        }
        closed
    }

    fn begin(&mut self, key: Key, alert: &Alert, spec: &Spec, closes: Timestamp) -> u64 {
        let id = self.next;
        self.next += 1;
        let open = Open::new(alert, spec, closes);
        let of_rule = self.by_rule.entry(rule_of(alert)).or_default();
        of_rule.bytes += open.bytes;
        of_rule.closing.insert((closes, id));
        self.open.insert(id, open);
        self.by_key.entry(key).or_default().push(id);
        self.closing.insert((closes, id));
        id
    }

    /// Closes all incidents, in the order of their closing times.
    pub fn close_all(&mut self) -> Vec<Incident> {
        let mut closed = Vec::new();
        while let Some((_, id)) = self.closing.first().copied() {
            closed.extend(self.close(id));
        }
        closed
    }

    /// Closes an incident. Returns it if it has reached its rule's threshold.
    fn close(&mut self, id: u64) -> Option<Incident> {
        let Open { mut incident, threshold, first, last, closes, bytes } = self.open.remove(&id)?;
        self.closing.remove(&(closes, id));
        let rule = rule_of(&incident.alert);
        if let Some(of_rule) = self.by_rule.get_mut(&rule) {
            of_rule.closing.remove(&(closes, id));
            of_rule.bytes -= bytes;
            if of_rule.closing.is_empty() {
                self.by_rule.remove(&rule);
            }
        }
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
        // The clock is read only for times that are later than all before.
        let ahead = self.latest.is_none_or(|latest| time > latest)
            && (self.clock)().checked_add(MAX_AHEAD).is_ok_and(|most| time > most);
        (!ahead).then_some(time)
    }
}

impl Open {
    fn new(alert: &Alert, spec: &Spec, closes: Timestamp) -> Self {
        let incident = Incident::of(alert, spec);
        let bytes = size_of::<Self>() + size_of_alert(&incident.alert) + json_length(&incident.summary);
        Self { incident, threshold: u64::from(spec.threshold), first: None, last: None, closes, bytes }
    }

    /// Returns by how much an alert of this time extends the incident, if all its alerts are then within the period.
    fn stretch(&self, time: Option<Timestamp>, period: SignedDuration) -> Option<SignedDuration> {
        let (Some(first), Some(last), Some(time)) = (self.first, self.last, time) else {
            return Some(SignedDuration::ZERO);
        };
        let longer = last.max(time).duration_since(first.min(time));
        (longer < period).then(|| longer - last.duration_since(first))
    }

    /// Adds an alert. Returns the incident's first alert if this one reaches the threshold.
    fn add(&mut self, alert: &Alert, time: Option<Timestamp>) -> Option<Alert> {
        self.incident.count += 1;
        self.first = [self.first, time].into_iter().flatten().min();
        self.last = self.last.max(time);
        self.bytes += self.incident.summarize(alert);
        (self.incident.count == self.threshold).then(|| self.incident.alert.clone())
    }
}

/// Returns the approximate size of an alert in bytes: its texts, and the overhead of each.
fn size_of_alert(alert: &Alert) -> usize {
    json_length(alert) + (20 + alert.about.tags.len() + alert.about.mitre.len()) * size_of::<String>()
}

#[cfg(test)]
mod tests;
