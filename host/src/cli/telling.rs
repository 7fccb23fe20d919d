//! What an operator is told about records and rules while they are judged.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use portcullis::activation::Control;
use portcullis::{Blind, Fault, Notice, Package, RuleSet, RuleVerdict, Unowned, Verdict};

use super::seen::{self, BlindTo, Seen, told_apart};

/// Said once, of the first record that it is true of.
const NO_NETWORKS: &str = "warning: nothing says whose network the public source address is in: a cloud's own nodes look like \
     intruders. Give --cloud-ranges with the ranges that your cloud publishes, or --asn-db with a database of networks";

/// Knows what has been told already, and whom to report to.
pub(super) struct Teller {
    /// By tenant.
    names: Vec<Arc<str>>,
    /// Whether there are several tenants, or one that has only the records that it claims.
    several: bool,
    /// What to report roll-backs to, where rules come out of files.
    pub(super) control: Option<Control>,
    /// By tenant, the number that it has there.
    followed: Vec<Option<usize>>,
    /// By tenant, which versions of which rules have been rolled back and reported: each judge does so by itself.
    reported: Vec<(Arc<RuleSet>, Vec<Package>)>,
    told: Told,
}

/// What has been said of one record, and is said of no other.
#[derive(Default)]
struct Told {
    networks: bool,
    nobodys: bool,
    several: bool,
    /// Of a tenant's rule, by its id, and whether records were cut off.
    blind: HashSet<(usize, String, bool)>,
    /// Of a client's records.
    clients: BTreeMap<Arc<str>, seen::Told>,
}

impl Teller {
    pub(super) fn new(names: Vec<Arc<str>>, several: bool, followed: Vec<Option<usize>>) -> Self {
        Self { names, several, control: None, followed, reported: Vec::new(), told: Told::default() }
    }

    /// What comes now was judged with these rule sets, by tenant.
    pub(super) fn goes_by(&mut self, rules: &[Arc<RuleSet>]) {
        self.reported.resize_with(rules.len(), Default::default);
        for ((rules, reported), now) in self.reported.iter_mut().zip(rules) {
            if !Arc::ptr_eq(rules, now) {
                (*rules, *reported) = (Arc::clone(now), Vec::new());
            }
        }
    }

    /// Of a record that is not one tenant's, the first time.
    pub(super) fn unowned(&mut self, unowned: &Unowned, place: &str) -> Option<String> {
        let told = match unowned {
            Unowned::Nobodys => &mut self.told.nobodys,
            Unowned::Several(_) => &mut self.told.several,
        };
        let text = "It is rejected; of others like it, only their number is told";
        (!std::mem::replace(told, true)).then(|| format!("{place}: warning: the record {unowned}. {text}"))
    }

    /// Of a record for which there is no enrichment, the first time.
    pub(super) fn networks(&mut self, place: &str) -> Option<String> {
        (!std::mem::replace(&mut self.told.networks, true)).then(|| format!("{place}: {NO_NETWORKS}"))
    }

    /// Of what a client has brought: of single records the first time, and of all of it where nothing was evaluated, until
    /// something is again.
    pub(super) fn client(&mut self, client: &Arc<str>, seen: &Seen) -> Vec<String> {
        let told = told_apart(&mut self.told.clients, client);
        let others = format!("It is among the dead letters, as are others; of {client}'s only the number is told");
        let of_records = told.of_records(seen, &others);
        of_records.chain(told.of_all(seen, client)).collect()
    }

    /// Of a rule that cannot see what it goes by, the first time.
    pub(super) fn blind(&mut self, blind: &BlindTo) -> Option<String> {
        let BlindTo { tenant, blind: Blind { package, verb, resource, cut_off }, place, .. } = blind;
        if !self.told.blind.insert((*tenant, package.rule_id().to_owned(), *cut_off)) {
            return None;
        }
        let rule = named(self.several.then(|| &*self.names[*tenant]), package, place);
        Some(if *cut_off {
            format!(
                "{rule}: warning: it cannot tell whether it matches this record: its end is cut off, and with it perhaps the \
                 service's type (requestObject.spec.type). It matches nothing that was cut off, here and in others like it"
            )
        } else {
            format!(
                "{rule}: warning: it is blind to this record and to others like it: it goes by the service's type, and the record \
                 has no requestObject. The audit policy records {verb} of {resource} at level Metadata: set level: Request \
                 or RequestResponse there, or the rule cannot match them"
            )
        })
    }

    /// Of a fault, and of what becomes of the rule; and reports a roll-back. What a rule does while it is suspended is told
    /// only by its number.
    pub(super) fn verdict(&mut self, tenant: usize, verdict: &RuleVerdict, place: &str) -> Vec<String> {
        let of = self.several.then(|| Arc::clone(&self.names[tenant]));
        let rule = || named(of.as_deref(), &verdict.package, place);
        let mut said = Vec::new();
        if let Verdict::Fault(fault) = &verdict.verdict
            && is_news(fault, &verdict.notices)
        {
            said.push(format!("{} failed: it {fault}", rule()));
        }
        for notice in &verdict.notices {
            said.push(match notice {
                Notice::RolledBack { package, fault } => {
                    let version = verdict.package.version();
                    let reported = &mut self.reported[tenant].1;
                    if let (Some(control), Some(followed)) = (&self.control, self.followed[tenant])
                        && !reported.contains(package)
                    {
                        reported.push(package.clone());
                        control.rolled_back(followed, package, &verdict.package, fault);
                    }
                    format!("{} failed: it {fault}. The verdict of {version} counts", named(of.as_deref(), package, place))
                }
                Notice::Suspended { events, minutes } => format!(
                    "{} is SUSPENDED: it will not be asked about the next {events} events that concern it, or for {minutes} \
                     min of their time, whichever ends first, and then be tried again; each counts as a fault, and is kept \
                     with --rejects",
                    rule()
                ),
                Notice::Resumed => format!("{} answers again, and is suspended no longer", rule()),
                Notice::AlertsUsedUp => format!(
                    "{}: warning: what else it matches in this minute is a fault too, and is kept with --rejects",
                    rule()
                ),
            });
        }
        said
    }
}

/// A version of a rule at a place; of this tenant, where there are several.
fn named(of: Option<&str>, package: &Package, place: &str) -> String {
    let of = of.map(|tenant| format!(" of {tenant}")).unwrap_or_default();
    format!("{place}: {} {}{of}", package.rule_id(), package.version())
}

/// Whether a fault is told by itself, and not by its number.
pub(super) fn is_news(fault: &Fault, notices: &[Notice]) -> bool {
    match fault {
        Fault::Suspended(_) => false,
        Fault::Alerts(_) => notices.contains(&Notice::AlertsUsedUp),
        _ => true,
    }
}
