//! All prefilters of a rule set as one index: what an event costs follows the fields that prefilters name, and not the
//! rules that cannot match it.

use std::collections::HashMap;

use portcullis_event::{Event, LogType};

use crate::Package;
use crate::package::{Field, Pattern};

/// A set of rules, by their places in the rule set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates(Vec<u64>);

impl Candidates {
    fn none(rules: usize) -> Self {
        Self(vec![0; rules.div_ceil(64)])
    }

    fn insert(&mut self, rule: usize) {
        self.0[rule / 64] |= 1 << (rule % 64);
    }

    pub(crate) fn contains(&self, rule: usize) -> bool {
        self.0[rule / 64] & (1 << (rule % 64)) != 0
    }

    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    fn keep(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    subscribed: Vec<(LogType, Candidates)>,
    fields: Vec<FieldIndex>,
}

/// Which rules let which values of one field through.
#[derive(Debug)]
struct FieldIndex {
    field: Field,
    /// Rules that do not name the field.
    any: Candidates,
    exact: HashMap<String, Candidates>,
    prefixes: HashMap<String, Candidates>,
    /// The lengths of the prefixes, in bytes, each once.
    lengths: Vec<usize>,
}

impl Index {
    pub(super) fn new(packages: &[Package]) -> Self {
        let all = |matches: &dyn Fn(&Package) -> bool| {
            let mut rules = Candidates::none(packages.len());
            packages
                .iter()
                .enumerate()
                .filter(|(_, package)| matches(package))
                .for_each(|(rule, _)| rules.insert(rule));
            rules
        };
        let subscribed = LogType::ALL
            .map(|log_type| (log_type, all(&|package| package.spec().log_types.contains(&log_type))))
            .to_vec();
        let names = |package: &Package, field| package.prefilter().fields().iter().any(|(named, _)| *named == field);
        let fields = Field::ALL
            .into_iter()
            .filter(|field| packages.iter().any(|package| names(package, *field)))
            .map(|field| FieldIndex::new(field, all(&|package| !names(package, field)), packages))
            .collect();
        Self { subscribed, fields }
    }

    pub(super) fn candidates(&self, event: &Event<'_>, candidates: &mut Candidates) {
        let subscribed = self.subscribed.iter().find(|(log_type, _)| *log_type == event.log_type);
        candidates.0.clear();
        candidates.0.extend(subscribed.iter().flat_map(|(_, rules)| &rules.0));
        let mut allowed = Candidates::default();
        for field in &self.fields {
            allowed.0.clone_from(&field.any.0);
            if let Some(value) = field.field.of(event) {
                field.exact.get(value).into_iter().for_each(|rules| allowed.add(rules));
                for prefix in field.lengths.iter().filter_map(|length| value.get(..*length)) {
                    field.prefixes.get(prefix).into_iter().for_each(|rules| allowed.add(rules));
                }
            }
            candidates.keep(&allowed);
        }
    }
}

impl FieldIndex {
    fn new(field: Field, any: Candidates, packages: &[Package]) -> Self {
        let mut exact = HashMap::new();
        let mut prefixes = HashMap::new();
        for (rule, package) in packages.iter().enumerate() {
            let patterns = package.prefilter().fields().iter().filter(|(named, _)| *named == field);
            for pattern in patterns.flat_map(|(_, patterns)| patterns) {
                let (values, value) = match pattern {
                    Pattern::Exact(value) => (&mut exact, value),
                    Pattern::Prefix(value) => (&mut prefixes, value),
                };
                values.entry(value.clone()).or_insert_with(|| Candidates::none(packages.len())).insert(rule);
            }
        }
        let mut lengths: Vec<usize> = prefixes.keys().map(String::len).collect();
        lengths.sort_unstable();
        lengths.dedup();
        Self { field, any, exact, prefixes, lengths }
    }
}
