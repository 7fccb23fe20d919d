//! The account that every run must close.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Run, text};

/// What the ledger says of one tenant's records, or of those that are nobody's.
#[derive(Default)]
struct Sums {
    outcomes: BTreeMap<String, u64>,
    malformed: u64,
    suspect: u64,
    verdicts: BTreeMap<(String, String), BTreeMap<String, u64>>,
}

impl Sums {
    fn add(&mut self, line: &Value) {
        *self.outcomes.entry(text(&line["outcome"])).or_default() += 1;
        self.malformed += u64::from(has_malformed(line));
        let reason = line["reason"].as_str().filter(|_| line["outcome"] == "ignored");
        self.suspect += u64::from(reason.is_some_and(|reason| reason.contains(", but its text contains ")));
        for (rule, entry) in line["rules"].as_object().into_iter().flatten() {
            let counts = self.verdicts.entry((rule.clone(), text(&entry["version"]))).or_default();
            *counts.entry(text(&entry["verdict"])).or_default() += 1;
            if entry["reason"].as_str().is_some_and(|reason| reason.starts_with("is suspended")) {
                *counts.entry("suspended".to_owned()).or_default() += 1;
            }
        }
    }

    fn merge(mut self, other: &Self) -> Self {
        for (outcome, count) in &other.outcomes {
            *self.outcomes.entry(outcome.clone()).or_default() += count;
        }
        self.malformed += other.malformed;
        self.suspect += other.suspect;
        self
    }

    /// The lines that the command must print.
    fn printed(&self, of: &str) -> Vec<String> {
        let count = |outcome| self.outcomes.get(outcome).copied().unwrap_or(0);
        let (evaluated, ignored, rejected) = (count("evaluated"), count("ignored"), count("rejected"));
        let read: u64 = self.outcomes.values().sum();
        assert_eq!(evaluated + ignored + rejected, read);
        let malformed = self.malformed;
        let suspect = if self.suspect > 0 { format!(" ({} suspect)", self.suspect) } else { String::new() };
        let mut lines = vec![format!(
            "{of}{read} records = {evaluated} evaluated ({malformed} with malformed fields) + {ignored} ignored{suspect} + {rejected} rejected"
        )];
        for ((rule, version), counts) in &self.verdicts {
            let of_verdict = |verdict| counts.get(verdict).copied().unwrap_or(0);
            let suspended = of_verdict("suspended");
            lines.push(format!(
                "{of}{rule} {version}: {} events = {} alert + {} excluded + {} no-match + {} skipped + {} fault{}",
                counts.values().sum::<u64>() - suspended,
                of_verdict("alert"),
                of_verdict("excluded"),
                of_verdict("no-match"),
                of_verdict("skipped"),
                of_verdict("fault"),
                if suspended > 0 { format!(" ({suspended} while suspended)") } else { String::new() }
            ));
        }
        lines
    }
}

fn has_malformed(line: &Value) -> bool {
    line["malformed"].as_array().is_some_and(|paths| !paths.is_empty())
}

impl Run {
    /// Every record has one line in the ledger and one outcome, every subscribed rule one verdict, every alert one line,
    /// everything that is wrong a line in the rejects, and what is printed, in all and of each tenant, is what the ledger
    /// adds up to.
    pub(crate) fn check_account(&self) {
        let mut tenants: BTreeMap<Option<&str>, Sums> = BTreeMap::new();
        let mut wrong = Vec::new();
        for (n, line) in self.ledger.iter().enumerate() {
            assert_eq!(line["n"], n, "the ledger counts records from 0");
            let outcome = text(&line["outcome"]);
            tenants.entry(line["tenant"].as_str()).or_default().add(line);
            let faulted =
                line["rules"].as_object().is_some_and(|rules| rules.values().any(|rule| rule["verdict"] == "fault"));
            assert_eq!(line.get("rules").is_some(), outcome == "evaluated");
            for name in ["reason", "place"] {
                assert_eq!(line.get(name).is_some(), outcome != "evaluated", "{line}");
            }
            assert!(outcome != "evaluated" || line["tenant"].is_string(), "what is nobody's is shown to no rule");
            // Whether the tenant had rules that were not for this event, or none, the ledger does not say.
            let no_rule = line["rules"] == json!({})
                && self.rejects.iter().any(|reject| {
                    reject["n"] == n
                        && reject["reason"].as_str().is_some_and(|reason| reason.ends_with("no active rule"))
                });
            if outcome == "rejected" || has_malformed(line) || faulted || no_rule {
                wrong.push(n);
            }
        }
        let rejects: Vec<usize> = self.rejects.iter().map(|line| index(&line["n"])).collect();
        assert_eq!(rejects, wrong, "the rejects hold what is wrong, and nothing else");
        for line in &self.rejects {
            assert_eq!(line["tenant"], self.ledger[index(&line["n"])]["tenant"]);
        }

        let several = self.ended.stderr.contains("portcullis: no tenant: ");
        let mut printed = tenants.values().fold(Sums::default(), Sums::merge).printed("");
        for (tenant, sums) in &tenants {
            let of = match tenant {
                Some(tenant) if several => format!("tenant {tenant}: "),
                None if several => "no tenant: ".to_owned(),
                _ => String::new(),
            };
            printed.extend(sums.printed(&of));
        }
        for line in printed {
            let is_there = self
                .ended
                .stderr
                .lines()
                .any(|printed| printed.strip_prefix("portcullis: ").unwrap_or(printed) == line);
            assert!(is_there, "{line} is not in {}", self.ended.stderr);
        }
        let said = |line: &Value, verdict| {
            let rules = line["rules"].as_object().into_iter().flatten();
            rules.filter(|(_, entry)| entry["verdict"] == verdict).count()
        };
        let alerts: usize = self.ledger.iter().map(|line| said(line, "alert")).sum();
        assert_eq!(alerts, self.alerts.len(), "every alert has a line");
    }
}

fn index(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("a number")).expect("a small number")
}

/// Whatever a command has printed of its account adds up: of all records, of each tenant's and nobody's, and of each rule.
pub(super) fn check_printed(stderr: &str) {
    let mut totals: Vec<(bool, Vec<u64>)> = Vec::new();
    for line in stderr.lines() {
        let Some((left, right)) = line.split_once(" = ") else { continue };
        let mut words = left.rsplit(' ');
        let (unit, read) =
            (words.next().unwrap_or_default(), words.next().and_then(|number| number.parse::<u64>().ok()));
        let (Some(read), "records" | "events") = (read, unit) else { continue };
        let parts: Vec<u64> = right.split(" + ").filter_map(|part| part.split(' ').next()?.parse().ok()).collect();
        assert_eq!(parts.iter().sum::<u64>(), read, "{line}");
        if unit == "records" {
            totals.push((left.contains("tenant"), parts));
        }
    }
    let all = totals.iter().filter(|(of_tenant, _)| !of_tenant).map(|(_, parts)| parts);
    let of_tenants: Vec<&Vec<u64>> =
        totals.iter().filter(|(of_tenant, _)| *of_tenant).map(|(_, parts)| parts).collect();
    for parts in all.filter(|_| !of_tenants.is_empty()) {
        for (outcome, total) in parts.iter().enumerate() {
            assert_eq!(of_tenants.iter().map(|parts| parts[outcome]).sum::<u64>(), *total, "{stderr}");
        }
    }
}
