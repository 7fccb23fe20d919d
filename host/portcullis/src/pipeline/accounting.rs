//! The account of a run: every record under one outcome, every verdict under one word.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use portcullis_event::LogType;
use semver::Version;

use crate::package::Package;
use crate::pipeline::{Judgement, Times, Verdict, Verdicts};
use crate::rule_set::RuleSet;
use crate::sandbox::Fault;

/// How many records had which outcome, and how often each rule said what.
#[derive(Clone, Debug, Default)]
pub struct Accounting {
    /// Records that were shown to the rules.
    pub evaluated: u64,
    /// Records that are no Kubernetes audit events.
    pub ignored: u64,
    /// Those of the ignored whose text speaks of Kubernetes audit logs all the same.
    pub suspect: u64,
    /// Records that cannot be read, or are not one tenant's.
    pub rejected: u64,
    /// Evaluated records that had a field of a wrong type.
    pub malformed: u64,
    /// By rule id and version; without the events since the versions at work last changed.
    rules: Vec<RuleAccounting>,
    /// The versions at work, and the events since.
    serving: Arc<[Package]>,
    events: [u64; LogType::ALL.len()],
}

/// What one version of a rule said on the events that it subscribes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleAccounting {
    /// The rule.
    pub rule_id: String,
    /// Its version.
    pub version: Version,
    /// Events that it subscribes to, while it was at work.
    pub events: u64,
    /// Matches.
    pub alert: u64,
    /// Matches on events that the operator has excluded from alerting.
    pub excluded: u64,
    /// Asked, and no match.
    pub no_match: u64,
    /// Failed.
    pub fault: u64,
    /// Those of the faults that are of events which the rule was not asked about, while it was suspended.
    pub suspended: u64,
    /// The faults by their kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// How long it took each time that it was asked.
    pub times: Times,
}

impl Accounting {
    /// An empty account for these rules.
    #[must_use]
    pub fn new(rules: &RuleSet) -> Self {
        let rules = rules.packages().iter().map(RuleAccounting::new).collect();
        Self { rules, ..Self::default() }
    }

    /// Records read.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.evaluated + self.ignored + self.rejected
    }

    /// What each version of each rule said, by rule id and version.
    #[must_use]
    pub fn rules(&self) -> Vec<RuleAccounting> {
        let mut settled = self.clone();
        settled.settle();
        settled.rules
    }

    /// Counts a record, at a cost that follows the rules that were asked. A version of a rule that has not been there before
    /// gets an account of its own.
    pub fn count(&mut self, judgement: &Judgement) {
        match judgement {
            Judgement::Evaluated { malformed, verdicts } => {
                self.evaluated += 1;
                self.malformed += u64::from(!malformed.is_empty());
                self.count_verdicts(verdicts);
            }
            Judgement::Ignored(ignored) => {
                self.ignored += 1;
                self.suspect += u64::from(ignored.is_suspect());
            }
            Judgement::Rejected(_) | Judgement::Unclaimed(_) => self.rejected += 1,
        }
    }

    /// The account of all records of these, without the rules.
    #[must_use]
    pub fn total<'a>(accounts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut total = Self::default();
        for account in accounts {
            total.add_outcomes(account);
        }
        total
    }

    fn add_outcomes(&mut self, other: &Self) {
        self.evaluated += other.evaluated;
        self.ignored += other.ignored;
        self.suspect += other.suspect;
        self.rejected += other.rejected;
        self.malformed += other.malformed;
    }

    /// Adds what another account has counted. It costs least where that is of the same judge.
    pub fn add(&mut self, other: Self) {
        self.add_outcomes(&other);
        if other.evaluated > 0 && !Arc::ptr_eq(&self.serving, &other.serving) {
            self.settle();
            self.serving = other.serving;
        }
        for (own, other) in self.events.iter_mut().zip(other.events) {
            *own += other;
        }
        for rule in other.rules {
            match self.rules.binary_search_by(|own| own.key().cmp(&rule.key())) {
                Ok(place) => self.rules[place].add(&rule),
                Err(place) => self.rules.insert(place, rule),
            }
        }
    }

    fn count_verdicts(&mut self, verdicts: &Verdicts) {
        if !Arc::ptr_eq(&self.serving, verdicts.serving()) {
            self.settle();
            self.serving = Arc::clone(verdicts.serving());
        }
        self.events[verdicts.log_type() as usize] += 1;
        for asked in verdicts.asked() {
            let by_id = |package: &Package| package.rule_id().cmp(asked.package.rule_id());
            let serving = self.serving.binary_search_by(by_id).ok().map(|place| self.serving[place].clone());
            if let Some(serving) = serving.filter(|serving| *serving != asked.package) {
                // Another version took over on this very event, which is therefore none of the one before.
                self.settle();
                self.of(&serving).events -= 1;
                self.of(&asked.package).events += 1;
            }
            let rule = self.of(&asked.package);
            if let Some(took) = asked.took {
                rule.times.add(took);
            }
            match &asked.verdict {
                Verdict::Alert(_) => rule.alert += 1,
                Verdict::Excluded { .. } => rule.excluded += 1,
                Verdict::NoMatch => rule.no_match += 1,
                Verdict::Skipped => {}
                Verdict::Fault(fault) => {
                    rule.fault += 1;
                    *rule.faults.entry(fault.kind()).or_default() += 1;
                    rule.suspended += u64::from(matches!(fault, Fault::Suspended(_)));
                }
            }
        }
    }

    /// Gives every version that is at work the events that it subscribes to.
    fn settle(&mut self) {
        let events = std::mem::take(&mut self.events);
        let serving = Arc::clone(&self.serving);
        for package in serving.iter() {
            let subscribed = package.spec().log_types.iter().map(|log_type| events[*log_type as usize]);
            self.of(package).events += subscribed.sum::<u64>();
        }
    }

    fn of(&mut self, package: &Package) -> &mut RuleAccounting {
        let key = (package.rule_id(), package.version());
        let place = match self.rules.binary_search_by(|rule| rule.key().cmp(&key)) {
            Ok(place) => place,
            Err(place) => {
                self.rules.insert(place, RuleAccounting::new(package));
                place
            }
        };
        &mut self.rules[place]
    }
}

impl RuleAccounting {
    fn new(package: &Package) -> Self {
        Self {
            rule_id: package.rule_id().to_owned(),
            version: package.version().clone(),
            events: 0,
            alert: 0,
            excluded: 0,
            no_match: 0,
            fault: 0,
            suspended: 0,
            faults: BTreeMap::new(),
            times: Times::default(),
        }
    }

    /// Not asked, because its prefilter rules a match out.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.events - self.alert - self.excluded - self.no_match - self.fault
    }

    fn key(&self) -> (&str, &Version) {
        (&self.rule_id, &self.version)
    }

    /// Adds what another version, or the same elsewhere, has said.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.alert += other.alert;
        self.excluded += other.excluded;
        self.no_match += other.no_match;
        self.fault += other.fault;
        self.suspended += other.suspended;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.times.add_all(&other.times);
    }
}

impl fmt::Display for Accounting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { evaluated, ignored, suspect, rejected, malformed, .. } = self;
        write!(
            formatter,
            "{} records = {evaluated} evaluated ({malformed} with malformed fields) + {ignored} ignored",
            self.read()
        )?;
        if *suspect > 0 {
            write!(formatter, " ({suspect} suspect)")?;
        }
        write!(formatter, " + {rejected} rejected")?;
        for rule in self.rules() {
            let RuleAccounting { rule_id, version, events, alert, excluded, no_match, fault, suspended, .. } = &rule;
            let skipped = rule.skipped();
            write!(
                formatter,
                "\n{rule_id} {version}: {events} events = {alert} alert + {excluded} excluded + {no_match} no-match + {skipped} skipped + {fault} fault"
            )?;
            if *suspended > 0 {
                write!(formatter, " ({suspended} while suspended)")?;
            }
        }
        Ok(())
    }
}
