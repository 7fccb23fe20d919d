//! The account of a run: every record under one outcome, every verdict under one word.

use std::fmt;

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
    /// What the rules said, in the order of the rule set.
    pub rules: Vec<RuleAccounting>,
}

/// What one rule said on the events that it subscribes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleAccounting {
    /// The rule.
    pub rule_id: String,
    /// Its version.
    pub version: String,
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
        let rule = |package: &Package| RuleAccounting {
            rule_id: package.rule_id().to_owned(),
            version: package.version().to_string(),
            alert: 0,
            excluded: 0,
            no_match: 0,
            skipped: 0,
            fault: 0,
            suspended: 0,
        };
        let rules = rules.packages().iter().map(rule).collect();
        Self { rules, ..Self::default() }
    }

    /// Records read.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.evaluated + self.ignored + self.rejected
    }

    /// Counts a record.
    ///
    /// # Panics
    /// The judgement is of a judge with another rule set.
    pub fn count(&mut self, judgement: &Judgement) {
        match judgement {
            Judgement::Evaluated { malformed, verdicts } => {
                self.evaluated += 1;
                self.malformed += u64::from(!malformed.is_empty());
                for verdict in verdicts {
                    let rule = &mut self.rules[verdict.rule];
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
