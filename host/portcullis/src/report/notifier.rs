//! Notifications for the operator about records and rules, each given once.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::outcomes::{BlindRule, Outcomes, WarningState, client_entry};
use crate::activation::Control;
use crate::package::Package;
use crate::pipeline::{Blind, Notice, RuleVerdict, Unclaimed, Verdict};
use crate::rule_set::RuleSet;
use crate::sandbox::Fault;

/// The warning about the first event whose source network is unknown.
const NO_NETWORKS: &str = "warning: the network of the public source address is unknown: a cloud's own nodes look like \
                           intruders. Use --cloud-ranges with the ranges that your cloud publishes, or --asn-db with a \
                           database of networks";

/// Urgency of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// No action is needed.
    Info,
    /// An operator should look at it.
    Warning,
}

/// A message for the operator. The text of a warning says that it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Its urgency.
    pub level: Level,
    /// One line of text.
    pub text: String,
}

impl Notification {
    /// Returns a notification of level [`Level::Info`].
    #[must_use]
    pub fn info(text: String) -> Self {
        Self { level: Level::Info, text }
    }

    /// Returns a notification of level [`Level::Warning`].
    #[must_use]
    pub fn warning(text: String) -> Self {
        Self { level: Level::Warning, text }
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Turns reports into notifications, and remembers the given ones.
pub struct Notifier {
    /// Names of tenants.
    names: Vec<Arc<str>>,
    /// Whether notifications name the tenant.
    several: bool,
    /// The control to report rollbacks to, if rules come from files.
    pub control: Option<Control>,
    /// By tenant, its number in the control.
    followed: Vec<Option<usize>>,
    /// By tenant, the rule set, and the versions whose rollback was reported. Each judge rolls back on its own, and
    /// one report is enough.
    reported: Vec<(Arc<RuleSet>, Vec<Package>)>,
    given: Given,
}

/// Notifications that are given once only.
#[derive(Default)]
struct Given {
    networks: bool,
    unclaimed: bool,
    several: bool,
    /// By tenant, rule id, and whether records were cut off.
    blind: HashSet<(usize, String, bool)>,
    /// By client.
    clients: BTreeMap<Arc<str>, WarningState>,
}

impl Notifier {
    /// Returns a notifier for these tenants. `several` says whether notifications name the tenant. `followed` has each
    /// tenant's number in the control, if its rules come from files.
    #[must_use]
    pub fn new(names: Vec<Arc<str>>, several: bool, followed: Vec<Option<usize>>) -> Self {
        Self { names, several, control: None, followed, reported: Vec::new(), given: Given::default() }
    }

    /// Sets the rule sets, by tenant, of the following verdicts.
    pub fn set_rules(&mut self, rules: &[Arc<RuleSet>]) {
        self.reported.resize_with(rules.len(), Default::default);
        for ((rules, reported), now) in self.reported.iter_mut().zip(rules) {
            if !Arc::ptr_eq(rules, now) {
                (*rules, *reported) = (Arc::clone(now), Vec::new());
            }
        }
    }

    /// Notifies of the first record that belongs to no tenant, and of the first that several claim.
    pub fn unclaimed(&mut self, unclaimed: &Unclaimed, place: &str) -> Option<Notification> {
        let given = match unclaimed {
            Unclaimed::NoClaim => &mut self.given.unclaimed,
            Unclaimed::Several(_) => &mut self.given.several,
        };
        let text = "It is rejected; further records like it are only counted";
        let is_first = !std::mem::replace(given, true);
        is_first.then(|| Notification::warning(format!("{place}: warning: the record {unclaimed}. {text}")))
    }

    /// Notifies of the first record whose source network is unknown.
    pub fn networks(&mut self, place: &str) -> Option<Notification> {
        let is_first = !std::mem::replace(&mut self.given.networks, true);
        is_first.then(|| Notification::warning(format!("{place}: {NO_NETWORKS}")))
    }

    /// Notifies of a client's first rejected and first suspect record, and of a batch in which nothing was evaluated.
    /// The last is given again only after something was evaluated.
    pub fn client(&mut self, client: &Arc<str>, outcomes: &Outcomes) -> Vec<Notification> {
        let warned = client_entry(&mut self.given.clients, client);
        let others = format!(
            "It is a dead letter. Further rejected records of {client} are dead letters too, and are only counted"
        );
        let warnings = warned.record_warnings(outcomes, &others);
        warnings.chain(warned.input_warning(outcomes, client)).map(Notification::warning).collect()
    }

    /// Notifies of the first event that a rule was blind to.
    pub fn blind(&mut self, blind: &BlindRule) -> Option<Notification> {
        let BlindRule { tenant, blind: Blind { package, verb, resource, cut_off }, place, .. } = blind;
        if !self.given.blind.insert((*tenant, package.rule_id().to_owned(), *cut_off)) {
            return None;
        }
        let rule = named(self.several.then(|| &*self.names[*tenant]), package, place);
        Some(Notification::warning(if *cut_off {
            format!(
                "{rule}: warning: this record is cut off, perhaps before the service's type (requestObject.spec.type). \
                 The rule cannot match it, nor others like it"
            )
        } else {
            format!(
                "{rule}: warning: it is blind to this record and to others like it: it uses the service's type, and \
                 the record has no requestObject. The audit policy records {verb} of {resource} at level Metadata: set \
                 level: Request or RequestResponse there, or the rule cannot match them"
            )
        }))
    }

    /// Notifies of a fault and of changes of the rule's state, and reports a rollback to the control. Faults of a
    /// suspended rule are only counted.
    pub fn verdict(&mut self, tenant: usize, verdict: &RuleVerdict, place: &str) -> Vec<Notification> {
        let of = self.several.then(|| Arc::clone(&self.names[tenant]));
        let rule = || named(of.as_deref(), &verdict.package, place);
        let mut notifications = Vec::new();
        if let Verdict::Fault(fault) = &verdict.verdict
            && is_notified(fault, &verdict.notices)
        {
            notifications.push(Notification::warning(format!("{} failed: it {fault}", rule())));
        }
        for notice in &verdict.notices {
            notifications.push(match notice {
                Notice::RolledBack { package, fault } => {
                    self.report_roll_back(tenant, verdict, package, fault);
                    let (rule, version) = (named(of.as_deref(), package, place), verdict.package.version());
                    Notification::warning(format!("{rule} failed: it {fault}. The verdict of {version} counts"))
                }
                Notice::Suspended { events, minutes } => Notification::warning(format!(
                    "{} is SUSPENDED: it skips its next {events} events, or {minutes} min of event time, whichever \
                     ends first; then it is tried again. Each skipped event counts as a fault, and is kept with \
                     --rejects",
                    rule()
                )),
                Notice::SuspensionEnded => {
                    Notification::info(format!("{} answers again, and is no longer suspended", rule()))
                }
                Notice::AlertsUsedUp => Notification::warning(format!(
                    "{}: warning: its further matches in this minute are faults too, and are kept with --rejects",
                    rule()
                )),
                Notice::AlertBytesUsedUp => Notification::warning(format!(
                    "{}: warning: further matches of its tenant in this batch are faults too, and become dead letters",
                    rule()
                )),
            });
        }
        notifications
    }

    fn report_roll_back(&mut self, tenant: usize, verdict: &RuleVerdict, package: &Package, fault: &Fault) {
        let reported = &mut self.reported[tenant].1;
        if let (Some(control), Some(followed)) = (&self.control, self.followed[tenant])
            && !reported.contains(package)
        {
            reported.push(package.clone());
            control.rolled_back(followed, package, &verdict.package, fault);
        }
    }
}

/// Returns place, rule and version, with the tenant if there are several.
fn named(of: Option<&str>, package: &Package, place: &str) -> String {
    let of = of.map(|tenant| format!(" of {tenant}")).unwrap_or_default();
    format!("{place}: {} {}{of}", package.rule_id(), package.version())
}

/// Returns whether a fault gets a notification of its own, or is only counted.
#[must_use]
pub fn is_notified(fault: &Fault, notices: &[Notice]) -> bool {
    match fault {
        Fault::Suspended(_) => false,
        Fault::Alerts(_) => notices.contains(&Notice::AlertsUsedUp),
        Fault::AlertBytes(_) => notices.contains(&Notice::AlertBytesUsedUp),
        _ => true,
    }
}
