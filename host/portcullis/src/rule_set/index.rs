//! An index of all prefilters of a rule set. An event's cost depends on the number of fields that prefilters name, and
//! not on the number of rules that cannot match it.

use std::collections::BTreeMap;

use portcullis_event::{Event, LogType};

use super::candidates::{Candidates, Rules};
use crate::package::{Field, Pattern, Prefilter};

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
#[derive(Debug)]
struct Sorted(Vec<(String, Rules)>);

impl Sorted {
    fn get(&self, text: &str) -> Option<&Rules> {
        let place = self.0.binary_search_by(|(known, _)| known.as_str().cmp(text)).ok()?;
        Some(&self.0[place].1)
    }
}

impl From<BTreeMap<&str, Rules>> for Sorted {
    fn from(texts: BTreeMap<&str, Rules>) -> Self {
        Self(texts.into_iter().map(|(text, rules)| (text.to_owned(), rules)).collect())
    }
}

impl Index {
    /// Returns the index of rules, each with the log types that it subscribes to and its prefilter.
    pub(super) fn new(indexed: &[(&[LogType], &Prefilter)]) -> Self {
        let all = |matches: &dyn Fn(&[LogType], &Prefilter) -> bool| {
            let mut rules = Candidates::none(indexed.len());
            let matching =
                indexed.iter().enumerate().filter(|(_, (log_types, prefilter))| matches(log_types, prefilter));
            matching.for_each(|(rule, _)| rules.set(rule, true));
            rules
        };
        let names = |prefilter: &Prefilter, field| prefilter.fields().iter().any(|(named, _)| *named == field);
        let fields = LOOKUP_ORDER
            .into_iter()
            .filter(|field| indexed.iter().any(|(_, prefilter)| names(prefilter, *field)))
            .map(|field| FieldIndex::new(field, all(&|_, prefilter| !names(prefilter, field)), indexed))
            .collect();
        Self { subscribed: LogType::ALL.map(|log_type| all(&|log_types, _| log_types.contains(&log_type))), fields }
    }

    /// Marks the rules that subscribe to a log type.
    pub(super) fn subscribed(&self, log_type: LogType, candidates: &mut Candidates) {
        candidates.copy(&self.subscribed[log_type as usize]);
    }

    pub(super) fn candidates(&self, event: &Event<'_>, candidates: &mut Candidates) {
        self.subscribed(event.log_type, candidates);
        Self::keep(self.fields.iter(), event, candidates);
    }

    /// Marks the rules that name this field and whose other fields let an event through. Returns whether there are any.
    pub(super) fn candidates_but_for(&self, field: Field, event: &Event<'_>, candidates: &mut Candidates) -> bool {
        let Some(named) = self.fields.iter().find(|index| index.field == field) else { return false };
        self.subscribed(event.log_type, candidates);
        candidates.remove(&named.any)
            && Self::keep(self.fields.iter().filter(|index| index.field != field), event, candidates)
    }

    /// Keeps the rules whose patterns for these fields let an event through. Returns whether any are left.
    fn keep<'i>(fields: impl Iterator<Item = &'i FieldIndex>, event: &Event<'_>, candidates: &mut Candidates) -> bool {
        for index in fields {
            let value = index.field.of(event);
            let exact = value.and_then(|value| index.exact.get(value));
            let mut prefixes = value.into_iter().flat_map(|value| index.prefixes_of(value)).peekable();
            let is_left = if prefixes.peek().is_none() {
                candidates.keep(&index.any, exact)
            } else {
                let mut some = index.any.clone();
                prefixes.for_each(|rules| some.add(rules));
                candidates.keep(&some, exact)
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
    fn new(field: Field, any: Candidates, indexed: &[(&[LogType], &Prefilter)]) -> Self {
        let (mut exact, mut prefixes) = (BTreeMap::<&str, Rules>::new(), BTreeMap::<&str, Rules>::new());
        for (rule, (_, prefilter)) in indexed.iter().enumerate() {
            let patterns = prefilter.fields().iter().filter(|(named, _)| *named == field);
            for pattern in patterns.flat_map(|(_, patterns)| patterns) {
                let (texts, text) = match pattern {
                    Pattern::Exact(text) => (&mut exact, text),
                    Pattern::Prefix(text) => (&mut prefixes, text),
                };
                texts.entry(text).or_insert_with(|| Rules::Few(Vec::new())).add(rule, indexed.len());
            }
        }
        let mut lengths: Vec<usize> = prefixes.keys().map(|prefix| prefix.len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        Self { field, any, exact: exact.into(), prefixes: prefixes.into(), lengths }
    }

    /// Returns the rules of each prefix of a value.
    fn prefixes_of(&self, value: &str) -> impl Iterator<Item = &Rules> {
        self.lengths.iter().filter_map(move |length| self.prefixes.get(value.get(..*length)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn prefilter() -> impl Strategy<Value = Prefilter> {
        let texts = || option::of(vec(select(&["a", "ab", "abc", "b", "a*", "ab*", "é*", "*"][..]), 1..4));
        (texts(), texts(), texts()).prop_map(|(verb, resource, username)| {
            let fields = [("verb", verb), ("resource", resource), ("username", username)];
            let fields = fields.into_iter().filter_map(|(name, texts)| Some((name.to_owned(), texts?.into())));
            Prefilter::from_json(&serde_json::Value::Object(fields.collect())).expect("a prefilter")
        })
    }

    proptest! {
        /// With few rules and with many, so that texts have sets of both kinds.
        #[test]
        fn the_candidates_are_the_rules_whose_prefilters_let_an_event_through(
            rules in vec((prefilter(), any::<bool>()), 0..300),
            values in vec(option::of(select(&["a", "ab", "abcd", "é", "c"][..])), 3),
        ) {
            let indexed: Vec<_> = rules
                .iter()
                .map(|(prefilter, of_eks)| (if *of_eks { &LogType::ALL[..] } else { &[] }, prefilter))
                .collect();
            let value = |number: usize| values[number].map(Into::into);
            let event = Event { verb: value(0), resource: value(1), username: value(2), ..Event::new(LogType::Eks) };
            let mut candidates = Candidates::default();
            Index::new(&indexed).candidates(&event, &mut candidates);
            for (rule, (prefilter, of_eks)) in rules.iter().enumerate() {
                let expected = *of_eks && prefilter.first_miss(&event).is_none();
                prop_assert_eq!(candidates.contains(rule), expected, "{:?}", prefilter);
            }
        }
    }
}
