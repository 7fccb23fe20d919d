//! The account of a run: every record under one outcome, every verdict under one word.

use std::fmt;

use semver::Version;

use crate::pipeline::{Judgement, Verdict};
use crate::{Fault, Package, RuleSet};

/// How many records had which outcome, and how often each rule said what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    /// Records that were shown to the rules.
    pub evaluated: u64,
    /// Records that are no Kubernetes audit events.
    pub ignored: u64,
    /// Records that cannot be read, or are not one tenant's.
    pub rejected: u64,
    /// Evaluated records that had a field of a wrong type.
    pub malformed: u64,
    /// What each version of each rule said, by rule id and version.
    pub rules: Vec<RuleAccounting>,
}

/// What one version of a rule said on the events that it subscribes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleAccounting {
    /// The rule.
    pub rule_id: String,
    /// Its version.
    pub version: Version,
    /// Matches.
    pub alert: u64,
    /// Matches on events that the operator has excluded from alerting.
    pub excluded: u64,
    /// Asked, and no match.
    pub no_match: u64,
    /// Not asked, because its prefilter rules a match out.
    pub skipped: u64,
    /// Failed.
    pub fault: u64,
    /// Those of the faults that are of events which the rule was not asked about, while it was suspended.
    pub suspended: u64,
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

    /// Counts a record. A version of a rule that has not been there before gets an account of its own.
    pub fn count(&mut self, judgement: &Judgement) {
        match judgement {
            Judgement::Evaluated { malformed, verdicts } => {
                self.evaluated += 1;
                self.malformed += u64::from(!malformed.is_empty());
                let mut next = 0;
                for verdict in verdicts {
                    let place = self.place(&verdict.package, next);
                    next = place + 1;
                    let rule = &mut self.rules[place];
                    *match verdict.verdict {
                        Verdict::Alert(_) => &mut rule.alert,
                        Verdict::Excluded { .. } => &mut rule.excluded,
                        Verdict::NoMatch => &mut rule.no_match,
                        Verdict::Skipped => &mut rule.skipped,
                        Verdict::Fault(_) => &mut rule.fault,
                    } += 1;
                    rule.suspended += u64::from(matches!(verdict.verdict, Verdict::Fault(Fault::Suspended(_))));
                }
            }
            Judgement::Ignored(_) => self.ignored += 1,
            Judgement::Rejected(_) | Judgement::Unowned(_) => self.rejected += 1,
        }
    }

    /// Where a package's account is; most often it is at the guess.
    fn place(&mut self, package: &Package, guess: usize) -> usize {
        let key = (package.rule_id(), package.version());
        let order = |rule: &RuleAccounting| (&*rule.rule_id, &rule.version).cmp(&key);
        if self.rules.get(guess).is_some_and(|rule| order(rule).is_eq()) {
            return guess;
        }
        match self.rules.binary_search_by(order) {
            Ok(place) => place,
            Err(place) => {
                self.rules.insert(place, RuleAccounting::new(package));
                place
            }
        }
    }
}

impl RuleAccounting {
    fn new(package: &Package) -> Self {
        Self {
            rule_id: package.rule_id().to_owned(),
            version: package.version().clone(),
            alert: 0,
            excluded: 0,
            no_match: 0,
            skipped: 0,
            fault: 0,
            suspended: 0,
        }
    }
}

impl fmt::Display for Accounting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { evaluated, ignored, rejected, malformed, .. } = self;
        write!(
            formatter,
            "{} records = {evaluated} evaluated ({malformed} with malformed fields) + {ignored} ignored + {rejected} rejected",
            self.read()
        )?;
        for RuleAccounting { rule_id, version, alert, excluded, no_match, skipped, fault, suspended } in &self.rules {
            let subscribed = alert + excluded + no_match + skipped + fault;
            write!(
                formatter,
                "\n{rule_id} {version}: {subscribed} events = {alert} alert + {excluded} excluded + {no_match} no-match + {skipped} skipped + {fault} fault"
            )?;
            if *suspended > 0 {
                write!(formatter, " ({suspended} while suspended)")?;
            }
        }
        Ok(())
    }
}
