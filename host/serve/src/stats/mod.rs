//! Stats: counts, and the last alerts and faults, by tenant.

mod by_rule;
mod ring;
mod views;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use portcullis::activation::{Action, Entry, ListedPackage};
use portcullis::pipeline::{RuleAccounting, RuleVerdict, Times, shortened};
use portcullis::report::{Outcomes, RecordReport, client_entry, is_notified};
use portcullis::{Accounting, Verdict};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use by_rule::ByRule;
use ring::Ring;

/// The number of past alerts and of past faults of a tenant that a new viewer gets.
const SHOWN: usize = 50;

/// Length beyond which an alert is shown without its context, in bytes: many wait for viewers.
const LONGEST: usize = 16 << 10;

/// The number of events that a viewer may be behind before it misses some.
const MAX_LAG: usize = 1024;

/// The number of versions of a rule with their own series in metrics. Older ones are counted together.
const VERSIONS: usize = 8;

/// An alert or a fault, which viewers see at once.
pub(crate) struct LiveEvent {
    /// Its place among all events since the start, from 1.
    pub(crate) number: u64,
    /// The tenant that it belongs to.
    pub(crate) tenant: usize,
    pub(crate) kind: &'static str,
    /// A JSON object.
    pub(crate) text: Arc<str>,
}

/// The stats of a service.
pub struct Stats {
    pub(crate) names: Arc<[Arc<str>]>,
    counted: Mutex<Counted>,
    live_events: broadcast::Sender<Arc<LiveEvent>>,
}

/// The counts behind the lock.
pub(crate) struct Counted {
    /// The stats of each tenant, and last those of unclaimed records.
    pub(crate) tenants: Vec<TenantStats>,
    /// Batches by client and HTTP status.
    pub(crate) batches: BTreeMap<(Arc<str>, u16), u64>,
    /// Batches in which no record was evaluated and some were ignored, by client.
    pub(crate) ignored: BTreeMap<Arc<str>, u64>,
    /// Times of judging batches.
    pub(crate) judging: Times,
    /// Messages from the stream, by result.
    pub(crate) handled: BTreeMap<&'static str, u64>,
    /// Messages that wait in the stream, as last seen.
    pub(crate) waiting: u64,
    /// Changes of rule versions, by tenant, rule and action.
    pub(crate) swaps: BTreeMap<(String, String, Action), u64>,
    /// The number of events for viewers.
    live_events: u64,
    /// The list of each tenant's rules.
    rules: Vec<Arc<[ListedPackage]>>,
}

/// The last events that a viewer may see.
pub(crate) struct Recent {
    /// The oldest comes first.
    pub(crate) events: Vec<Arc<LiveEvent>>,
    /// The number of the newest event of these tenants that is no longer among them.
    pub(crate) gone: u64,
    /// Receives further events.
    pub(crate) further: broadcast::Receiver<Arc<LiveEvent>>,
}

/// The stats of a tenant.
pub(crate) struct TenantStats {
    pub(crate) account: Accounting,
    /// Events that lack the field that a rule needs, by the rule's id.
    pub(crate) blind: BTreeMap<String, u64>,
    seconds: Ring,
    minutes: Ring,
    alert_minutes: Ring,
    alerts_by_rule: ByRule,
    alerts: VecDeque<Arc<LiveEvent>>,
    faults: VecDeque<Arc<LiveEvent>>,
    /// The number of the newest event that is no longer kept.
    gone: u64,
}

impl TenantStats {
    fn new() -> Self {
        Self {
            account: Accounting::default(),
            blind: BTreeMap::new(),
            seconds: Ring::of_seconds(),
            minutes: Ring::of_minutes(),
            alert_minutes: Ring::of_minutes(),
            alerts_by_rule: ByRule::default(),
            alerts: VecDeque::new(),
            faults: VecDeque::new(),
            gone: 0,
        }
    }
}

/// Returns whether a viewer of `viewed`, or of all tenants, sees what belongs to a tenant.
pub(crate) fn is_visible(viewed: Option<usize>, tenant: usize) -> bool {
    viewed.is_none_or(|viewed| viewed == tenant)
}

/// Returns a bounded number of versions of each rule: the newest ones, and the older ones together as one. `rules` is in
/// the order of rule ids and versions.
pub(crate) fn bounded(rules: &[RuleAccounting]) -> Vec<(String, RuleAccounting)> {
    let mut bounded: Vec<(String, RuleAccounting)> = Vec::new();
    let mut of_rule = 0;
    for rule in rules.iter().rev() {
        let is_next = bounded.last().is_none_or(|(_, last)| last.rule_id != rule.rule_id);
        of_rule = if is_next { 1 } else { of_rule + 1 };
        if of_rule <= VERSIONS {
            bounded.push((rule.version.to_string(), rule.clone()));
        } else if let Some((version, older)) = bounded.last_mut() {
            "older".clone_into(version);
            older.add(rule);
        }
    }
    bounded
}

/// Returns the rules that alerted.
fn alerting(account: &Accounting) -> Vec<RuleAccounting> {
    if account.alerts_and_faults().0 == 0 {
        return Vec::new();
    }
    account.rules().into_iter().filter(|rule| rule.alert > 0).collect()
}

/// Returns the text of an alert that viewers see.
fn shown(alert: Arc<str>) -> Arc<str> {
    if alert.len() <= LONGEST {
        return alert;
    }
    // Values of a long context would take many times its length.
    let members: HashMap<&str, &RawValue> = serde_json::from_str(&alert).unwrap_or_default();
    let short = |(name, value): (&str, &RawValue)| {
        let value: Value = serde_json::from_str(value.get()).ok()?;
        Some((name.to_owned(), value.as_str().map_or(value.clone(), |text| shortened(text).into())))
    };
    let long = ["context", "runbook", "tags", "mitre"];
    let mut shown: Map<String, Value> =
        members.into_iter().filter(|(name, _)| !long.contains(name)).filter_map(short).collect();
    let note = json!({"note": "this alert is too long to be shown here; the sinks have all of it"});
    shown.extend(
        [("context", note), ("tags", json!([])), ("mitre", json!([]))].map(|(name, value)| (name.to_owned(), value)),
    );
    Value::from(shown).to_string().into()
}

impl Stats {
    /// Returns empty stats of these tenants.
    #[must_use]
    pub fn new(names: Arc<[Arc<str>]>) -> Self {
        let counted = Counted {
            tenants: (0..=names.len()).map(|_| TenantStats::new()).collect(),
            batches: BTreeMap::new(),
            ignored: BTreeMap::new(),
            judging: Times::default(),
            handled: BTreeMap::new(),
            waiting: 0,
            swaps: BTreeMap::new(),
            live_events: 0,
            rules: names.iter().map(|_| Arc::default()).collect(),
        };
        Self { names, counted: Mutex::new(counted), live_events: broadcast::channel(MAX_LAG).0 }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer to a batch.
    pub(crate) fn answered(&self, client: &Arc<str>, status: u16) {
        *self.lock().batches.entry((Arc::clone(client), status)).or_default() += 1;
    }

    /// Counts a batch that was judged and stored: its records by tenant and unclaimed, its alerts by tenant as lines of
    /// JSON, the faults in its reports, and the time of judging.
    pub(crate) fn count_batch(
        &self,
        client: &Arc<str>,
        outcomes: &Outcomes,
        accounts: (Vec<Accounting>, Accounting),
        alerts: Vec<(usize, Arc<str>)>,
        reports: &[RecordReport],
        took: Duration,
    ) {
        let now = Timestamp::now();
        let second = now.as_second();
        let faults = reports.iter().flat_map(|report| self.faults(report, now));
        let alert =
            |(tenant, text): (usize, Arc<str>)| LiveEvent { number: 0, tenant, kind: "alert", text: shown(text) };
        let live_events: Vec<LiveEvent> = alerts.into_iter().map(alert).chain(faults).collect();
        let (tenants, unclaimed) = accounts;
        let by_rule: Vec<Vec<RuleAccounting>> = tenants.iter().map(alerting).collect();
        let mut counted = self.lock();
        counted.judging.add(took);
        if outcomes.nothing_evaluated().is_some() {
            *client_entry(&mut counted.ignored, client) += 1;
        }
        for blind in &outcomes.blind {
            let of_rule = counted.tenants[blind.tenant].blind.entry(blind.blind.package.rule_id().to_owned());
            *of_rule.or_default() += blind.events;
        }
        for (of_tenant, account) in counted.tenants.iter_mut().zip(tenants.into_iter().chain([unclaimed])) {
            let records = account.read();
            if records > 0 {
                of_tenant.seconds.add(second, records);
                of_tenant.minutes.add(second, records);
                of_tenant.account.add(account);
            }
        }
        for (of_tenant, rules) in counted.tenants.iter_mut().zip(by_rule) {
            for rule in rules {
                of_tenant.alerts_by_rule.add(&rule.rule_id, second, rule.alert);
            }
        }
        for mut live_event in live_events {
            counted.live_events += 1;
            live_event.number = counted.live_events;
            let live_event = Arc::new(live_event);
            let of_tenant = &mut counted.tenants[live_event.tenant];
            let shown = if live_event.kind == "alert" {
                of_tenant.alert_minutes.add(second, 1);
                &mut of_tenant.alerts
            } else {
                &mut of_tenant.faults
            };
            shown.push_back(Arc::clone(&live_event));
            if shown.len() > SHOWN {
                let gone = shown.pop_front().map_or(0, |event| event.number);
                of_tenant.gone = of_tenant.gone.max(gone);
            }
            // Fails if there is no viewer.
            let _ = self.live_events.send(live_event);
        }
    }

    /// Returns the faults of a record that are shown to viewers.
    fn faults<'r>(&'r self, report: &'r RecordReport, now: Timestamp) -> impl Iterator<Item = LiveEvent> + 'r {
        let verdicts = report.tenant.into_iter().flat_map(|tenant| report.verdicts.iter().map(move |it| (tenant, it)));
        verdicts.filter_map(move |(tenant, RuleVerdict { package, verdict, notices, .. })| {
            let Verdict::Fault(fault) = verdict else { return None };
            if !is_notified(fault, notices) {
                return None;
            }
            let text = json!({
                "time": now.to_string(), "tenant": &*self.names[tenant], "rule_id": package.rule_id(),
                "rule_version": package.version().to_string(), "place": report.place, "reason": fault.to_string(),
            });
            Some(LiveEvent { number: 0, tenant, kind: "fault", text: text.to_string().into() })
        })
    }

    /// Counts a message from the stream by its result.
    pub(crate) fn handled(&self, result: &'static str) {
        *self.lock().handled.entry(result).or_default() += 1;
    }

    /// Sets the number of messages that wait in the stream.
    pub(crate) fn set_waiting(&self, messages: u64) {
        self.lock().waiting = messages;
    }

    /// Counts an entry of the history of rules.
    pub fn count_entry(&self, entry: &Entry) {
        let rule = entry.rule_id.clone().unwrap_or_default();
        *self.lock().swaps.entry((entry.tenant.clone(), rule, entry.action)).or_default() += 1;
    }

    /// Sets the list of each tenant's rules.
    pub(crate) fn set_rules(&self, rules: Vec<Vec<ListedPackage>>) {
        let rules = rules.into_iter().map(Arc::from).collect();
        self.lock().rules = rules;
    }

    /// Returns the last alerts and faults of a tenant, or of all.
    pub(crate) fn recent(&self, tenant: Option<usize>) -> Recent {
        let counted = self.lock();
        let further = self.live_events.subscribe();
        let of_tenants = counted.tenants.iter().enumerate().filter(|(number, _)| is_visible(tenant, *number));
        let (mut events, mut gone) = (Vec::new(), 0);
        for (_, of_tenant) in of_tenants {
            events.extend(of_tenant.alerts.iter().chain(&of_tenant.faults).cloned());
            gone = gone.max(of_tenant.gone);
        }
        drop(counted);
        events.sort_by_key(|event| event.number);
        Recent { events, gone, further }
    }

    /// Returns the number of batches that were accepted, and of those that were refused.
    pub(crate) fn answers(&self) -> (u64, u64) {
        let (mut accepted, mut refused) = (0, 0);
        for ((_, status), count) in &self.lock().batches {
            *(if *status == 200 { &mut accepted } else { &mut refused }) += count;
        }
        (accepted, refused)
    }

    /// Returns the account of each tenant, line by line.
    pub(crate) fn summary(&self) -> Vec<String> {
        let counted = self.lock();
        let names = self.names.iter().map(|name| format!("tenant {name}")).chain(["no tenant".to_owned()]);
        let mut lines = Vec::new();
        for (name, of_tenant) in names.zip(&counted.tenants) {
            if name != "no tenant" || of_tenant.account.read() > 0 {
                lines.extend(of_tenant.account.to_string().lines().map(|line| format!("{name}: {line}")));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alerts(stats: &Stats, tenant: usize, count: usize) {
        let alerts = (0..count).map(|_| (tenant, "{}".into())).collect();
        let accounts = (vec![Accounting::default(), Accounting::default()], Accounting::default());
        stats.count_batch(&"client".into(), &Outcomes::default(), accounts, alerts, &[], Duration::ZERO);
    }

    #[test]
    fn a_tenants_viewer_loses_nothing_by_anothers_flood() {
        let stats = Stats::new(["acme", "globex"].map(Arc::from).into());
        alerts(&stats, 0, 1);
        let mut seen = stats.recent(Some(0));
        assert_eq!(seen.events.len(), 1);
        alerts(&stats, 1, MAX_LAG + 1);
        alerts(&stats, 0, 2);
        assert!(matches!(seen.further.try_recv(), Err(broadcast::error::TryRecvError::Lagged(_))));
        let newest = seen.events[0].number;
        let again = stats.recent(Some(0));
        assert_eq!(again.events.iter().filter(|event| event.number > newest).count(), 2);
        assert!(again.gone <= newest, "nothing of this tenant is lost");
        let of_all = stats.recent(None);
        assert!(of_all.gone > newest, "some of the other's are");
        assert!(of_all.events.is_sorted_by_key(|event| event.number), "the newest comes last, whosever it is");
    }
}
