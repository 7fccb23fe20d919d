//! The account of a run: each record has one outcome, and each rule has one verdict on each event.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use portcullis_event::LogType;
use semver::Version;

use crate::package::Package;
use crate::pipeline::{Judgement, Times, Verdict, Verdicts};
use crate::rule_set::RuleSet;
use crate::sandbox::Fault;

/// Numbers of records by outcome, and of verdicts by rule.
#[derive(Clone, Debug, Default)]
pub struct Accounting {
    /// Records that rules judged.
    pub evaluated: u64,
    /// Records that are not Kubernetes audit events.
    pub ignored: u64,
    /// Ignored records whose text mentions Kubernetes audit logs.
    pub suspect: u64,
    /// Records that cannot be read, or do not belong to exactly one tenant.
    pub rejected: u64,
    /// Evaluated records with fields of wrong types.
    pub malformed: u64,
    /// Verdicts by rule id and version, without the events since the serving versions last changed.
    rules: Vec<RuleAccounting>,
    /// The serving versions, and the events since they last changed, by log type.
    serving: Arc<[Package]>,
    events: [u64; LogType::ALL.len()],
}

/// Numbers of one rule version's verdicts on the events that it subscribes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleAccounting {
    /// The rule's id.
    pub rule_id: String,
    /// Its version.
    pub version: Version,
    /// Events that it subscribes to, while it was serving.
    pub events: u64,
    /// Matches.
    pub alert: u64,
    /// Matches on events that the operator has excluded.
    pub excluded: u64,
    /// Events that the rule was called for and did not match.
    pub no_match: u64,
    /// Faults.
    pub fault: u64,
    /// Faults for events during a suspension, for which the rule was not called.
    pub suspended: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Durations of its calls.
    pub times: Times,
}

impl Accounting {
    /// Returns an empty account for these rules.
    #[must_use]
    pub fn new(rules: &RuleSet) -> Self {
        let rules = rules.packages().iter().map(RuleAccounting::new).collect();
        Self { rules, ..Self::default() }
    }

    /// Returns the number of records.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.evaluated + self.ignored + self.rejected
    }

    /// Returns the account of each version of each rule, in the order of rule ids and versions.
    #[must_use]
    pub fn rules(&self) -> Vec<RuleAccounting> {
        let mut settled = self.clone();
        settled.settle();
        settled.rules
    }

    /// Returns the numbers of alerts and of faults of all rules.
    #[must_use]
    pub fn alerts_and_faults(&self) -> (u64, u64) {
        self.rules.iter().fold((0, 0), |(alerts, faults), rule| (alerts + rule.alert, faults + rule.fault))
    }

    /// Counts a record. The cost depends on the number of rules that were called. A new version of a rule gets an
    /// account of its own.
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

    /// Returns the sum of these accounts, without the rules.
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

    /// Adds another account. This is cheapest if both are of the same judge.
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
        for judged in verdicts.judged() {
            let by_id = |package: &Package| package.rule_id().cmp(judged.package.rule_id());
            let serving = self.serving.binary_search_by(by_id).ok().map(|place| self.serving[place].clone());
            if let Some(serving) = serving.filter(|serving| *serving != judged.package) {
                // Another version replaced the serving one on this event, so the event counts for the new one.
                self.settle();
                self.of(&serving).events -= 1;
                self.of(&judged.package).events += 1;
            }
            let rule = self.of(&judged.package);
            if let Some(took) = judged.took {
                rule.times.add(took);
            }
            match &judged.verdict {
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

    /// Adds the events to the accounts of the serving versions that subscribe to them.
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

    /// Returns the number of events for which the prefilter skipped the rule.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.events - self.alert - self.excluded - self.no_match - self.fault
    }

    fn key(&self) -> (&str, &Version) {
        (&self.rule_id, &self.version)
    }

    /// Adds the account of another version, or of the same version elsewhere.
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
