//! The stats as JSON, for viewers and for the fleet.

use std::sync::Arc;

use jiff::Timestamp;
use portcullis::Accounting;
use portcullis::activation::ListedPackage;
use portcullis::pipeline::RuleAccounting;
use serde_json::{Value, json};

use super::by_rule::Sums;
use super::ring::add;
use super::{Stats, is_visible};

impl Stats {
    /// Returns the counts of a tenant, or of all.
    pub(crate) fn overview(&self, tenant: Option<usize>) -> Value {
        let now = Timestamp::now();
        let second = now.as_second();
        let mut counted = self.lock();
        let (mut seconds, mut minutes, mut alert_minutes) = ([0; 60], [0; 60], [0; 60]);
        let mut by_rule = Sums::default();
        let mut totals = [0; 8];
        let mut tenants = Vec::new();
        for (number, of_tenant) in counted.tenants.iter_mut().enumerate() {
            if !is_visible(tenant, number) {
                continue;
            }
            let rings = [
                (&mut seconds, &mut of_tenant.seconds),
                (&mut minutes, &mut of_tenant.minutes),
                (&mut alert_minutes, &mut of_tenant.alert_minutes),
            ];
            for (sums, ring) in rings {
                add(sums, &ring.counts(second));
            }
            by_rule.add(&mut of_tenant.alerts_by_rule, second);
            let account = &of_tenant.account;
            let Accounting { evaluated, ignored, suspect, rejected, malformed, .. } = *account;
            let (alerts, faults) = account.alerts_and_faults();
            let all = [account.read(), evaluated, ignored, suspect, rejected, malformed, alerts, faults];
            totals.iter_mut().zip(all).for_each(|(sum, count)| *sum += count);
            let name = self.names.get(number).map_or("(no tenant)", |name| name);
            if number < self.names.len() || account.read() > 0 {
                tenants.push(json!({
                    "name": name, "records": account.read(), "evaluated": evaluated, "ignored": ignored,
                    "suspect": suspect, "rejected": rejected, "alerts": alerts, "faults": faults,
                }));
            }
        }
        drop(counted);
        let [records, evaluated, ignored, suspect, rejected, malformed, alerts, faults] = totals;
        json!({
            "time": now.to_string(),
            "seconds": seconds.to_vec(), "minutes": minutes.to_vec(), "alerts_minutes": alert_minutes.to_vec(),
            "alerts_by_rule": by_rule.shown(),
            "totals": {
                "records": records, "evaluated": evaluated, "ignored": ignored, "suspect": suspect,
                "rejected": rejected, "malformed": malformed, "alerts": alerts, "faults": faults,
            },
            "tenants": tenants,
        })
    }

    /// Returns the rules of a tenant, or of all, with their states and counts.
    pub(crate) fn rules(&self, tenant: Option<usize>) -> Value {
        // Batches are counted under this lock, so it is held only to copy the counts.
        let visible: Vec<(usize, Arc<[ListedPackage]>, Accounting)> = {
            let counted = self.lock();
            let visible = counted.rules.iter().enumerate().filter(|(number, _)| is_visible(tenant, *number));
            visible
                .map(|(number, listed)| (number, Arc::clone(listed), counted.tenants[number].account.clone()))
                .collect()
        };
        let mut rules = Vec::new();
        for (number, listed, account) in visible {
            let accounts = account.rules();
            for listed in &*listed {
                let key = (listed.rule_id.as_ref(), listed.version.as_ref());
                let place = accounts.binary_search_by(|rule| (Some(&rule.rule_id), Some(&rule.version)).cmp(&key));
                let count = place.ok().map(|place| &accounts[place]);
                let of = |count_of: fn(&RuleAccounting) -> u64| count.map_or(0, count_of);
                rules.push(json!({
                    "tenant": &*self.names[number],
                    "rule_id": listed.rule_id.as_deref().or(listed.file.as_deref()),
                    "version": listed.version.as_ref().map(ToString::to_string),
                    "state": listed.state.as_str(), "since": listed.since, "reason": listed.reason,
                    "sha256": listed.sha256, "signer": listed.signer,
                    "events": of(|rule| rule.events), "alert": of(|rule| rule.alert), "excluded": of(|rule| rule.excluded),
                    "no_match": of(|rule| rule.no_match), "skipped": of(RuleAccounting::skipped),
                    "fault": of(|rule| rule.fault),
                }));
            }
        }
        rules.into()
    }

    /// Returns the report of a replica to the fleet: the rules that it runs.
    pub(crate) fn report(&self, replica: &str) -> Value {
        json!({"replica": replica, "version": env!("CARGO_PKG_VERSION"), "rules": self.rules(None)})
    }
}
