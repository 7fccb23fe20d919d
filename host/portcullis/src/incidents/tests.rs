use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use portcullis_alert::{About, ContextText};

use super::*;
use crate::package::Severity;

fn spec(minutes: u32, threshold: u32) -> Spec {
    let yaml = format!(
        "AnalysisType: rule\nRuleID: R\nEnabled: true\nFilename: a.py\nLogTypes: [Amazon.EKS.Audit]\nSeverity: Low\n\
         DedupPeriodMinutes: {minutes}\nThreshold: {threshold}\nSummaryAttributes: [verb, p_any_ip_addresses]\n"
    );
    Spec::from_yaml(yaml.as_bytes()).expect("a spec")
}

/// Returns an alert this many minutes after the first of January.
fn alert(id: usize, dedup: &str, minutes: Option<i64>) -> Alert {
    let start: Timestamp = "2020-01-01T00:00:00Z".parse().expect("a time");
    let context = json!({"verb": format!("v{id}"), "sourceIPs": ["1.2.3.4:1", "x"]});
    Alert {
        alert_id: id.to_string(),
        about: about("R"),
        severity: Severity::Low,
        title: "title".to_owned(),
        dedup: dedup.to_owned(),
        incident_id: String::new(),
        tenant: "default".to_owned(),
        cluster: None,
        log_type: "Amazon.EKS.Audit",
        event_time: minutes.map(|minutes| (start + SignedDuration::from_mins(minutes)).to_string()),
        audit_id: None,
        context: ContextText::new(&context.to_string()).expect("an object"),
    }
}

fn about(rule_id: &str) -> Arc<About> {
    Arc::new(About {
        rule_id: rule_id.to_owned(),
        rule_version: "1.0.0".to_owned(),
        severity: Severity::Low,
        dedup_period_minutes: 60,
        mitre: Vec::new().into(),
        reference: None.into(),
        runbook: None.into(),
        tags: Vec::new().into(),
    })
}

fn clock() -> Timestamp {
    "2021-01-01T00:00:00Z".parse().expect("a time")
}

/// Returns what happens to alerts with these dedups and times: `+` and an alert that is shown, `-` and an incident that
/// is closed, with the number of its alerts.
fn story(spec: &Spec, max_open: usize, alerts: &[(&str, Option<i64>)]) -> String {
    let mut incidents = Incidents { max_open, ..Incidents::new(clock) };
    let mut story = Vec::new();
    let over = |incident: Incident| format!("-{}:{}", incident.alert.alert_id, incident.count);
    for (id, (dedup, minutes)) in alerts.iter().enumerate() {
        let alert = alert(id, dedup, *minutes);
        story.extend(incidents.advance(alert.event_time.as_deref()).into_iter().map(over));
        let (shown, made_room) = incidents.add(&alert, spec);
        story.extend(made_room.into_iter().map(over));
        story.extend(shown.map(|alert| format!("+{}", alert.alert_id)));
    }
    story.push("end".to_owned());
    story.extend(incidents.close_all().into_iter().map(over));
    if incidents.below_threshold() > 0 {
        story.push(format!("below:{}", incidents.below_threshold()));
    }
    assert!(incidents.open.is_empty() && incidents.by_key.is_empty() && incidents.closing.is_empty());
    assert!(incidents.by_rule.is_empty());
    story.join(" ")
}

#[test]
fn an_incident_lasts_for_the_period_from_its_first_alert() {
    let found = |alerts: &[(&str, i64)]| {
        let alerts: Vec<_> = alerts.iter().map(|(dedup, minutes)| (*dedup, Some(*minutes))).collect();
        story(&spec(60, 1), 100, &alerts)
    };
    assert_eq!(found(&[("a", 0), ("a", 30), ("a", 59)]), "+0 end -0:3");
    assert_eq!(found(&[("a", 0), ("a", 59), ("a", 60), ("a", 119)]), "+0 -0:2 +2 end -2:2");
    assert_eq!(found(&[("a", 0), ("b", 1), ("a", 2), ("b", 61)]), "+0 +1 -0:2 -1:1 +3 end -3:1");
}

#[test]
fn an_incident_is_shown_when_it_reaches_the_threshold() {
    let found = |alerts: &[i64]| {
        let alerts: Vec<_> = alerts.iter().map(|minutes| ("a", Some(*minutes))).collect();
        story(&spec(60, 3), 100, &alerts)
    };
    assert_eq!(found(&[0, 1, 2, 3]), "+0 end -0:4");
    assert_eq!(found(&[0, 1, 60, 61, 62]), "+2 end -2:3 below:2");
    assert_eq!(found(&[0, 1]), "end below:2");
}

#[test]
fn alerts_out_of_order_join_the_incident_that_they_fit() {
    let found = |alerts: &[i64]| {
        let alerts: Vec<_> = alerts.iter().map(|minutes| ("a", Some(*minutes))).collect();
        story(&spec(60, 1), 100, &alerts)
    };
    assert_eq!(found(&[30, 0, 45]), "+0 end -0:3");
    // 20 is too far from 80, but fits the incident that began at 70.
    assert_eq!(found(&[70, 80, 20, 25, 75]), "+0 +2 end -0:3 -2:2");
    // A late incident stays open until the time has advanced by the period.
    assert_eq!(found(&[500, 100, 110, 559, 120, 560, 130]), "+0 +1 -0:2 -1:3 +5 +6 end -5:1 -6:1");
}

#[test]
fn an_alert_without_a_time_takes_the_latest() {
    let found = |alerts: &[(&str, Option<i64>)]| story(&spec(60, 1), 100, alerts);
    assert_eq!(found(&[("a", None), ("a", None), ("a", Some(900))]), "+0 end -0:3");
    assert_eq!(found(&[("a", None), ("a", Some(0)), ("a", None), ("a", Some(60))]), "+0 -0:3 +3 end -3:1");
    assert_eq!(found(&[("a", Some(0)), ("a", None), ("b", Some(60)), ("a", None)]), "+0 -0:2 +2 +3 end -2:1 -3:1");
    // Two years ahead of the clock.
    assert_eq!(found(&[("a", Some(0)), ("a", Some(1_500_000)), ("a", Some(59))]), "+0 end -0:3");
}

#[test]
fn the_number_of_open_incidents_is_limited() {
    let alerts = [("a", Some(0)), ("b", Some(1)), ("c", Some(2)), ("a", Some(3)), ("c", Some(4))];
    assert_eq!(story(&spec(60, 1), 2, &alerts), "+0 +1 -0:1 +2 -1:1 +3 end -2:2 -3:1");
}

/// A rule that starts incidents without end, even large ones, closes only its own.
#[test]
fn one_rules_incidents_do_not_close_anothers() {
    let mut incidents = Incidents { max_open: 50, max_bytes: 1_000_000, ..Incidents::new(clock) };
    let spec = spec(60, 1);
    let of = |rule: &str, id: usize, length: usize| {
        let context = json!({"verb": format!("{id}{}", "x".repeat(length))});
        let context = ContextText::new(&context.to_string()).expect("an object");
        Alert { about: about(rule), context, ..alert(id, &id.to_string(), Some(0)) }
    };
    incidents.add(&of("victim", 0, 0), &spec);
    for id in 1..=1000 {
        incidents.add(&of("many", id, 0), &spec);
        incidents.add(&of("large", id, 100_000), &spec);
    }
    let open = ["victim", "many", "large"]
        .map(|rule| incidents.by_rule[&("default".to_owned(), rule.to_owned())].closing.len());
    assert_eq!(open[..2], [1, 50]);
    assert!((2..20).contains(&open[2]), "{open:?}");
    assert_eq!(incidents.close_all().len(), open.iter().sum::<usize>());
}

#[test]
fn an_incident_knows_its_times_and_distinct_values() {
    let mut incidents = Incidents::new(clock);
    let spec = spec(600, 1);
    for id in 0..150 {
        let minutes = [10, 5, 20][id % 3];
        incidents.add(&alert(id, "a", Some(minutes)), &spec);
    }
    let mut closed = incidents.close_all();
    let incident = closed.pop().expect("one");
    assert_eq!((incident.count, closed.len()), (150, 0));
    assert_eq!(incident.first_time.as_deref(), Some("2020-01-01T00:05:00Z"));
    assert_eq!(incident.last_time.as_deref(), Some("2020-01-01T00:20:00Z"));
    assert_eq!(incident.summary["verb"].as_array().map(Vec::len), Some(100));
    assert_eq!(incident.summary_cut, ["verb"]);
    assert_eq!(incident.summary["p_any_ip_addresses"], json!(["1.2.3.4"]));
}

proptest! {
    /// In order, incidents are what Panther makes of the alerts: each begins a period after the one before began.
    #[test]
    fn in_order_incidents_are_panthers(steps in prop::collection::vec((0_usize..3, 0_i64..40), 0..60)) {
        let mut now = 0;
        let mut plain: BTreeMap<usize, Vec<(i64, u64)>> = BTreeMap::new();
        let mut alerts = Vec::new();
        for (key, step) in steps {
            now += step;
            alerts.push((["a", "b", "c"][key], Some(now)));
            let own = plain.entry(key).or_default();
            match own.last_mut() {
                Some((first, count)) if now - *first < 60 => *count += 1,
                _ => own.push((now, 1)),
            }
        }
        let mut expected: Vec<u64> = plain.into_values().flatten().map(|(_, count)| count).collect();
        let found = story(&spec(60, 1), 1000, &alerts);
        let mut found: Vec<u64> = found
            .split(' ')
            .filter_map(|word| word.strip_prefix('-')?.split_once(':')?.1.parse().ok())
            .collect();
        expected.sort_unstable();
        found.sort_unstable();
        prop_assert_eq!(found, expected);
    }

    /// In any order, with times or without, each alert is counted once.
    #[test]
    fn in_any_order_each_alert_is_counted_once(
        alerts in prop::collection::vec((0_usize..3, prop::option::of(0_i64..400)), 0..60),
        threshold in 1_u32..4, max_open in 1_usize..5,
    ) {
        let alerts: Vec<_> = alerts.iter().map(|(key, minutes)| (["a", "b", "c"][*key], *minutes)).collect();
        let found = story(&spec(60, threshold), max_open, &alerts);
        let count = |word: &str| word.split_once(':').and_then(|(_, count)| count.parse().ok()).unwrap_or(0);
        prop_assert_eq!(found.split(' ').map(count).sum::<usize>(), alerts.len());
        let [shown, over] = ['+', '-'].map(|sign| found.split(' ').filter(|word| word.starts_with(sign)).count());
        prop_assert_eq!(shown, over);
    }
}
