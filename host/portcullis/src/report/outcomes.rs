//! Outcomes of the records of an input or batch, and the warnings that follow from them: an operator must know of
//! records that no rule could judge.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_event::{Ignored, Outcome, Rejected};

use crate::pipeline::{Blind, shortened};

/// The command that explains a record's outcome.
const EXPLAIN: &str = "portcullis explain FILE shows how a record is understood";

/// Number of clients that have entries of their own. All others share one entry, because a publisher to a stream
/// chooses its own name.
const CLIENTS: usize = 256;
const OTHERS: &str = "(others)";

/// Returns the entry of a client, which others may share.
pub fn client_entry<'m, T: Default>(clients: &'m mut BTreeMap<Arc<str>, T>, client: &Arc<str>) -> &'m mut T {
    let is_plain = client.len() <= 100 && client.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let has_entry = clients.contains_key(client) || (is_plain && clients.len() < CLIENTS);
    clients.entry(if has_entry { Arc::clone(client) } else { OTHERS.into() }).or_default()
}

/// Counts of consecutive records by their outcomes.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// Number of records.
    pub records: u64,
    /// Kubernetes audit events, with or without a tenant.
    events: u64,
    ignored: u64,
    /// Ignored records whose text mentions Kubernetes audit logs.
    pub suspect: u64,
    rejected: u64,
    first_ignored: Option<First>,
    first_suspect: Option<(String, &'static str)>,
    first_rejected: Option<First>,
    /// Rules that were blind to an event, once for each tenant and reason.
    pub blind: Vec<BlindRule>,
}

/// The first record with an outcome, and the reason.
#[derive(Debug)]
struct First {
    place: String,
    reason: String,
}

/// A tenant's rule that was blind to events.
#[derive(Debug)]
pub struct BlindRule {
    /// The tenant.
    pub tenant: usize,
    /// The rule, and what the first event lacked.
    pub blind: Blind,
    /// Place of the first such event.
    pub place: String,
    /// Number of such events.
    pub events: u64,
}

impl Outcomes {
    /// Counts a record at a place.
    pub fn count(&mut self, outcome: &Outcome<'_>, place: &dyn Fn() -> String) {
        self.records += 1;
        match outcome {
            Outcome::Evaluated(_) => self.events += 1,
            Outcome::Ignored(ignored) => {
                self.ignored += 1;
                let first = || First { place: place(), reason: shortened(&ignored.to_string()) };
                self.first_ignored.get_or_insert_with(first);
                if let Ignored::Suspect { marker, .. } = ignored {
                    self.suspect += 1;
                    self.first_suspect.get_or_insert_with(|| (place(), marker));
                }
            }
            Outcome::Rejected(rejected) => {
                self.rejected += 1;
                // A blank line is not worth a warning.
                if *rejected != Rejected::Empty {
                    let first = || First { place: place(), reason: shortened(&rejected.to_string()) };
                    self.first_rejected.get_or_insert_with(first);
                }
            }
        }
    }

    /// Counts the rules of a tenant that were blind to the event at a place.
    pub fn count_blind(&mut self, tenant: usize, rules: Vec<Blind>, place: &dyn Fn() -> String) {
        for blind in rules {
            let is_same = |known: &&mut BlindRule| {
                let Blind { package, cut_off, .. } = &known.blind;
                (known.tenant, package, *cut_off) == (tenant, &blind.package, blind.cut_off)
            };
            match self.blind.iter_mut().find(is_same) {
                Some(known) => known.events += 1,
                None => self.blind.push(BlindRule { tenant, blind, place: place(), events: 1 }),
            }
        }
    }

    /// Adds the outcomes of the records that follow, without the blind rules.
    pub fn add(&mut self, other: Self) {
        self.records += other.records;
        self.events += other.events;
        self.ignored += other.ignored;
        self.suspect += other.suspect;
        self.rejected += other.rejected;
        self.first_ignored = self.first_ignored.take().or(other.first_ignored);
        self.first_suspect = self.first_suspect.take().or(other.first_suspect);
        self.first_rejected = self.first_rejected.take().or(other.first_rejected);
    }

    /// Returns a warning if no record was a Kubernetes audit event and some were ignored.
    #[must_use]
    pub fn nothing_evaluated(&self) -> Option<String> {
        let Self { records, events: 0, ignored, rejected, first_ignored: Some(First { place, reason }), .. } = self
        else {
            return None;
        };
        let rejected = if *rejected > 0 { format!(" and {rejected} rejected") } else { String::new() };
        Some(format!(
            "no record was evaluated: {records} read, {ignored} ignored{rejected}. The first ignored record is \
             {place}: {reason}. {EXPLAIN}"
        ))
    }
}

/// The warnings that were given about one input of a run or one client of a service.
#[derive(Debug, Default)]
pub struct WarningState {
    nothing_evaluated: bool,
    suspect: bool,
    rejected: bool,
}

impl WarningState {
    /// Returns the warnings about single records, each once. `others` says what happens to further rejected records.
    pub fn record_warnings(&mut self, outcomes: &Outcomes, others: &str) -> impl Iterator<Item = String> + use<> {
        let suspect = outcomes.first_suspect.as_ref().filter(|_| !self.suspect).map(|(place, marker)| {
            self.suspect = true;
            format!(
                "{place}: warning: the record was ignored, but its text contains {marker}: it may contain an audit \
                 event in an unknown form. {EXPLAIN}"
            )
        });
        let rejected = outcomes.first_rejected.as_ref().filter(|_| !self.rejected).map(|First { place, reason }| {
            self.rejected = true;
            format!("{place}: warning: the record is rejected: {reason}. {others}")
        });
        suspect.into_iter().chain(rejected)
    }

    /// Returns the warning that nothing was evaluated. It is given once, and once more after something was evaluated.
    pub fn input_warning(&mut self, outcomes: &Outcomes, input: &str) -> Option<String> {
        let text = outcomes.nothing_evaluated();
        let was_warned = self.nothing_evaluated;
        self.nothing_evaluated = text.is_some() || (was_warned && outcomes.events == 0);
        text.filter(|_| !was_warned).map(|text| format!("{input}: warning: {text}"))
    }
}
