//! An index of all prefilters of a rule set. An event's cost depends on the number of fields that prefilters name, and
//! not on the number of rules that cannot match it.

use portcullis_event::{Event, LogType};

use crate::package::{Field, Package, Pattern};

/// A set of rules, by their index in the rule set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates(Vec<u64>);

impl Candidates {
    fn none(rules: usize) -> Self {
        Self(vec![0; rules.div_ceil(64)])
    }

    pub(crate) fn set(&mut self, rule: usize, is_in: bool) {
        let bit = 1 << (rule % 64);
        let word = &mut self.0[rule / 64];
        *word = if is_in { *word | bit } else { *word & !bit };
    }

    pub(crate) fn contains(&self, rule: usize) -> bool {
        self.0[rule / 64] & (1 << (rule % 64)) != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Returns the first rule of the set at this index or after.
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        let (first, bit) = (from / 64, from % 64);
        let mut words = self.0.iter().enumerate().skip(first);
        let masked = words.next().map(|(number, word)| (number, word & (u64::MAX << bit)));
        let (number, word) =
            masked.into_iter().chain(words.map(|(number, word)| (number, *word))).find(|(_, word)| *word != 0)?;
        Some(number * 64 + word.trailing_zeros() as usize)
    }

    fn copy(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
    }

    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// Removes the rules in `other`. Returns whether any are left.
    fn remove(&mut self, other: &Self) -> bool {
        let mut left = 0;
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= !other;
            left |= *word;
        }
        left != 0
    }

    /// Keeps the rules in `some` or `others`. Returns whether any are left.
    fn keep(&mut self, some: &Self, others: &Self) -> bool {
        let mut left = 0;
        for (word, (some, others)) in self.0.iter_mut().zip(some.0.iter().zip(&others.0)) {
            *word &= some | others;
            left |= *word;
        }
        left != 0
    }
}

/// The order in which fields are looked up: first those that rule out most events and are fastest to look up.
const LOOKUP_ORDER: [Field; Field::ALL.len()] = [
    Field::ServiceType,
    Field::SourceScope,
    Field::Verb,
    Field::Subresource,
    Field::Resource,
    Field::ApiGroup,
    Field::Namespace,
    Field::LogType,
    Field::Stage,
    Field::Cluster,
    Field::Name,
    Field::Username,
    Field::UserArn,
    Field::UserAgent,
    Field::RequestUri,
];

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Rules by log type, in the order of [`LogType::ALL`].
    subscribed: [Candidates; LogType::ALL.len()],
    fields: Vec<FieldIndex>,
    none: Candidates,
}

/// The rules that let each value of a field through.
#[derive(Debug)]
struct FieldIndex {
    field: Field,
    /// Rules that do not name the field.
    any: Candidates,
    exact: Sorted,
    prefixes: Sorted,
    /// All lengths of prefixes, in bytes.
    lengths: Vec<usize>,
}

/// Sorted texts, each with its rules. This is not a hash table, because the texts come from untrusted packages; and
/// with only two of them, a sorted list is fastest.
#[derive(Debug, Default)]
struct Sorted(Vec<(String, Candidates)>);

impl Sorted {
    fn get(&self, text: &str) -> Option<&Candidates> {
        let place = self.0.binary_search_by(|(known, _)| known.as_str().cmp(text)).ok()?;
        Some(&self.0[place].1)
    }

    fn insert(&mut self, text: &str, rule: usize, rules: usize) {
        let place = match self.0.binary_search_by(|(known, _)| known.as_str().cmp(text)) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, (text.to_owned(), Candidates::none(rules)));
                place
            }
        };
        self.0[place].1.set(rule, true);
    }
}

impl Index {
    pub(super) fn new(packages: &[Package]) -> Self {
        let all = |matches: &dyn Fn(&Package) -> bool| {
            let mut rules = Candidates::none(packages.len());
            packages
                .iter()
                .enumerate()
                .filter(|(_, package)| matches(package))
                .for_each(|(rule, _)| rules.set(rule, true));
            rules
        };
        let names = |package: &Package, field| package.prefilter().fields().iter().any(|(named, _)| *named == field);
        let fields = LOOKUP_ORDER
            .into_iter()
            .filter(|field| packages.iter().any(|package| names(package, *field)))
            .map(|field| FieldIndex::new(field, all(&|package| !names(package, field)), packages))
            .collect();
        Self {
            subscribed: LogType::ALL.map(|log_type| all(&|package| package.spec().log_types.contains(&log_type))),
            fields,
            none: Candidates::none(packages.len()),
        }
    }

    /// Marks the rules that subscribe to a log type.
    pub(super) fn subscribed(&self, log_type: LogType, candidates: &mut Candidates) {
        candidates.copy(&self.subscribed[log_type as usize]);
    }

    pub(super) fn candidates(&self, event: &Event<'_>, candidates: &mut Candidates) {
        self.subscribed(event.log_type, candidates);
        self.keep(self.fields.iter(), event, candidates);
    }

    /// Marks the rules that name this field and whose other fields let an event through. Returns whether there are any.
    pub(super) fn candidates_but_for(&self, field: Field, event: &Event<'_>, candidates: &mut Candidates) -> bool {
        let Some(named) = self.fields.iter().find(|index| index.field == field) else { return false };
        self.subscribed(event.log_type, candidates);
        candidates.remove(&named.any)
            && self.keep(self.fields.iter().filter(|index| index.field != field), event, candidates)
    }

    /// Keeps the rules whose patterns for these fields let an event through. Returns whether any are left.
    fn keep<'i>(
        &'i self,
        fields: impl Iterator<Item = &'i FieldIndex>,
        event: &Event<'_>,
        candidates: &mut Candidates,
    ) -> bool {
        for index in fields {
            let value = index.field.of(event);
            let exact = value.and_then(|value| index.exact.get(value)).unwrap_or(&self.none);
            let mut prefixes = value.into_iter().flat_map(|value| index.prefixes_of(value));
            let is_left = match prefixes.next() {
                None => candidates.keep(&index.any, exact),
                Some(first) => {
                    let mut allowed = first.clone();
                    allowed.add(exact);
                    prefixes.for_each(|rules| allowed.add(rules));
                    candidates.keep(&index.any, &allowed)
                }
            };
            // Most events concern no rule, which the first fields show.
            if !is_left {
                return false;
            }
        }
        true
    }
}

impl FieldIndex {
    fn new(field: Field, any: Candidates, packages: &[Package]) -> Self {
        let (mut exact, mut prefixes) = (Sorted::default(), Sorted::default());
        for (rule, package) in packages.iter().enumerate() {
            let patterns = package.prefilter().fields().iter().filter(|(named, _)| *named == field);
            for pattern in patterns.flat_map(|(_, patterns)| patterns) {
                match pattern {
                    Pattern::Exact(value) => exact.insert(value, rule, packages.len()),
                    Pattern::Prefix(value) => prefixes.insert(value, rule, packages.len()),
                }
            }
        }
        let mut lengths: Vec<usize> = prefixes.0.iter().map(|(prefix, _)| prefix.len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        Self { field, any, exact, prefixes, lengths }
    }

    /// Returns the rules of each prefix of a value.
    fn prefixes_of(&self, value: &str) -> impl Iterator<Item = &Candidates> {
        self.lengths.iter().filter_map(move |length| self.prefixes.get(value.get(..*length)?))
    }
}
