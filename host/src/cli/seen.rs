//! What became of the records of an input, or of a delivery, as far as an operator must hear of it: silence about what no rule has
//! seen would look like all being well.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis::{Blind, shortened};
use portcullis_event::{Ignored, Outcome, Rejected};

/// What explains a record's outcome to a person.
const EXPLAIN: &str = "portcullis explain FILE shows what a record is taken for";

/// So many clients are told apart; what others bring counts together. Whoever publishes into a stream names itself as it likes.
const CLIENTS: usize = 256;
const OTHERS: &str = "(others)";

/// What there is of a client.
pub(super) fn told_apart<'m, T: Default>(clients: &'m mut BTreeMap<Arc<str>, T>, client: &Arc<str>) -> &'m mut T {
    let is_plain = client.len() <= 100 && client.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let is_told_apart = clients.contains_key(client) || (is_plain && clients.len() < CLIENTS);
    clients.entry(if is_told_apart { Arc::clone(client) } else { OTHERS.into() }).or_default()
}

/// Some records that came one after the other, by their outcomes.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) records: u64,
    /// Those that are Kubernetes audit events, whosever they are.
    events: u64,
    ignored: u64,
    pub(super) suspect: u64,
    rejected: u64,
    first_ignored: Option<First>,
    first_suspect: Option<(String, &'static str)>,
    first_rejected: Option<First>,
    /// Each rule once for each tenant, and for each of the two reasons.
    pub(super) blind: Vec<BlindTo>,
}

/// The first record that had an outcome, and why.
struct First {
    place: String,
    reason: String,
}

/// A tenant's rule that could not see what it goes by.
pub(super) struct BlindTo {
    pub(super) tenant: usize,
    pub(super) blind: Blind,
    /// Where the first such event is.
    pub(super) place: String,
    /// How many there were.
    pub(super) events: u64,
}

impl Seen {
    /// Sees a record, at this place.
    pub(super) fn see(&mut self, outcome: &Outcome<'_>, place: &dyn Fn() -> String) {
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
                // Of a blank line there is nothing to tell.
                if *rejected != Rejected::Empty {
                    let first = || First { place: place(), reason: shortened(&rejected.to_string()) };
                    self.first_rejected.get_or_insert_with(first);
                }
            }
        }
    }

    /// Sees that these rules of a tenant were blind to the event at this place.
    pub(super) fn see_blind(&mut self, tenant: usize, rules: Vec<Blind>, place: &dyn Fn() -> String) {
        for blind in rules {
            let is_it = |known: &&mut BlindTo| {
                let Blind { package, cut_off, .. } = &known.blind;
                (known.tenant, package, *cut_off) == (tenant, &blind.package, blind.cut_off)
            };
            match self.blind.iter_mut().find(is_it) {
                Some(known) => known.events += 1,
                None => self.blind.push(BlindTo { tenant, blind, place: place(), events: 1 }),
            }
        }
    }

    /// Adds the records that came behind these, without the rules that were blind.
    pub(super) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.events += other.events;
        self.ignored += other.ignored;
        self.suspect += other.suspect;
        self.rejected += other.rejected;
        self.first_ignored = self.first_ignored.take().or(other.first_ignored);
        self.first_suspect = self.first_suspect.take().or(other.first_suspect);
        self.first_rejected = self.first_rejected.take().or(other.first_rejected);
    }

    /// What is wrong where no record is a Kubernetes audit event, and some were ignored.
    pub(super) fn nothing_evaluated(&self) -> Option<String> {
        let Self { records, events: 0, ignored, rejected, first_ignored: Some(First { place, reason }), .. } = self
        else {
            return None;
        };
        let rejected = if *rejected > 0 { format!(" and {rejected} rejected") } else { String::new() };
        Some(format!(
            "none of {records} records was evaluated: {ignored} ignored{rejected}. The first that was ignored is {place}: \
             {reason}. {EXPLAIN}"
        ))
    }
}

/// What has been told of the records that came one way: from an input of a run, or from a client of a service.
#[derive(Default)]
pub(super) struct Told {
    nothing_evaluated: bool,
    suspect: bool,
    rejected: bool,
}

impl Told {
    /// What is to be told of single records, the first time. `others` says what becomes of others like one that was rejected.
    pub(super) fn of_records(&mut self, seen: &Seen, others: &str) -> impl Iterator<Item = String> + use<> {
        let suspect = seen.first_suspect.as_ref().filter(|_| !self.suspect).map(|(place, marker)| {
            self.suspect = true;
            format!(
                "{place}: warning: the record was ignored, and yet its text has {marker}: perhaps it holds an audit event in a \
                 form that is not known. {EXPLAIN}"
            )
        });
        let rejected = seen.first_rejected.as_ref().filter(|_| !self.rejected).map(|First { place, reason }| {
            self.rejected = true;
            format!("{place}: warning: the record is rejected: {reason}. {others}")
        });
        suspect.into_iter().chain(rejected)
    }

    /// What is to be told where nothing was evaluated, the first time; and again when something was meanwhile.
    pub(super) fn of_all(&mut self, seen: &Seen, whence: &str) -> Option<String> {
        let text = seen.nothing_evaluated();
        let was_told = self.nothing_evaluated;
        self.nothing_evaluated = text.is_some() || (was_told && seen.events == 0);
        text.filter(|_| !was_told).map(|text| format!("{whence}: warning: {text}"))
    }
}
