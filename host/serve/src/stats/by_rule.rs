//! Alerts of the last hour by rule, minute by minute.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ring::{Ring, add};

/// The number of rules of a tenant with their own counts. Alerts of further ones are counted together.
const KEPT: usize = 100;

/// The number of rules that a viewer sees: those with the most alerts, and the others together.
const SHOWN: usize = 8;

/// Stands for all rules without their own counts. No rule has an empty id.
const OTHERS: &str = "";

/// A tenant's alerts by rule.
#[derive(Default)]
pub(super) struct ByRule(BTreeMap<String, Ring>);

impl ByRule {
    /// Counts alerts of a rule at this second.
    pub(super) fn add(&mut self, rule_id: &str, second: i64, alerts: u64) {
        if self.0.len() >= KEPT && !self.0.contains_key(rule_id) {
            self.0.retain(|_, ring| ring.counts(second) != [0; 60]);
        }
        let has_place = self.0.len() < KEPT || self.0.contains_key(rule_id);
        let id = if has_place { rule_id } else { OTHERS };
        self.0.entry(id.to_owned()).or_insert_with(Ring::of_minutes).add(second, alerts);
    }
}

/// Alerts by rule of all tenants that a viewer sees.
#[derive(Default)]
pub(super) struct Sums(BTreeMap<String, [u64; 60]>);

impl Sums {
    pub(super) fn add(&mut self, of_tenant: &mut ByRule, second: i64) {
        for (rule_id, ring) in &mut of_tenant.0 {
            let counts = ring.counts(second);
            if counts != [0; 60] {
                add(self.0.entry(rule_id.clone()).or_insert([0; 60]), &counts);
            }
        }
    }

    /// Returns the rules that alerted in the last hour, those with the most alerts first. The others come last, without
    /// an id.
    pub(super) fn shown(self) -> Value {
        let mut others = [0; 60];
        let mut rules: Vec<(String, [u64; 60])> = self.0.into_iter().collect();
        rules.sort_by_key(|(_, minutes)| std::cmp::Reverse(minutes.iter().sum::<u64>()));
        let mut shown = Vec::new();
        for (rule_id, minutes) in rules {
            if rule_id == OTHERS || shown.len() >= SHOWN {
                add(&mut others, &minutes);
            } else {
                shown.push(json!({"rule_id": rule_id, "minutes": minutes.to_vec()}));
            }
        }
        if others != [0; 60] {
            shown.push(json!({"rule_id": null, "minutes": others.to_vec()}));
        }
        shown.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_020;

    fn shown(tenants: &mut [ByRule], second: i64) -> Vec<(Value, u64)> {
        let mut sums = Sums::default();
        for tenant in tenants {
            sums.add(tenant, second);
        }
        let shown = sums.shown();
        let total = |rule: &Value| rule["minutes"].as_array().expect("60").iter().filter_map(Value::as_u64).sum();
        shown.as_array().expect("a list").iter().map(|rule| (rule["rule_id"].clone(), total(rule))).collect()
    }

    #[test]
    fn the_rules_with_the_most_alerts_are_shown_and_the_others_together() {
        let mut tenants = [ByRule::default(), ByRule::default()];
        for n in 0..10 {
            tenants[0].add(&format!("Rule.{n}"), SECOND, n + 1);
        }
        tenants[1].add("Rule.0", SECOND + 60, 100);
        let shown = shown(&mut tenants, SECOND + 60);
        assert_eq!(shown.len(), 9);
        assert_eq!((&shown[0], &shown[1]), (&("Rule.0".into(), 101), &("Rule.9".into(), 10)));
        assert_eq!(shown[8], (Value::Null, 2 + 3));
    }

    #[test]
    fn rules_beyond_the_limit_are_counted_together_until_others_are_silent() {
        let mut tenants = [ByRule::default()];
        for n in 0..KEPT + 50 {
            tenants[0].add(&format!("Rule.{n}"), SECOND, 1);
        }
        assert!(tenants[0].0.len() <= KEPT + 1);
        let all: u64 = shown(&mut tenants, SECOND).iter().map(|(_, total)| total).sum();
        assert_eq!(all, 150, "no alert is lost");
        let later = SECOND + 3600;
        tenants[0].add("Rule.new", later, 1);
        assert_eq!(shown(&mut tenants, later), [("Rule.new".into(), 1)]);
    }
}
