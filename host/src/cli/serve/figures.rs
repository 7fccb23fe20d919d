//! What has been counted, and what was seen last: for whoever looks at the service, as far as it is theirs to see.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use portcullis::activation::{Action, Entry, Listed};
use portcullis::{Accounting, RuleAccounting, Times, Verdict};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::judges::JudgedDelivery;
use super::ring::Ring;
use crate::cli::seen::told_apart;
use crate::cli::telling;

/// So many alerts and faults of a tenant are shown again to who comes later.
const SHOWN: usize = 50;

/// Who is so far behind misses some.
const BEHIND: usize = 1024;

/// So many versions of a rule are told apart in figures; what older ones counted is theirs together.
const VERSIONS: usize = 8;

/// Something that somebody may want to see at once.
pub(super) struct Happening {
    /// Whose it is.
    pub(super) tenant: usize,
    pub(super) kind: &'static str,
    /// An object of JSON.
    pub(super) text: Arc<str>,
}

/// All figures.
pub(super) struct Figures {
    pub(super) names: Vec<Arc<str>>,
    counted: Mutex<Counted>,
    happenings: broadcast::Sender<Arc<Happening>>,
}

/// What is behind the lock.
pub(super) struct Counted {
    /// By tenant; the last is nobody.
    pub(super) tenants: Vec<OfTenant>,
    /// By client and status.
    pub(super) deliveries: BTreeMap<(Arc<str>, u16), u64>,
    /// Deliveries of which nothing was evaluated, by client.
    pub(super) ignored: BTreeMap<Arc<str>, u64>,
    /// How long deliveries were judged.
    pub(super) judging: Times,
    /// Messages out of the stream, by what became of them.
    pub(super) handled: BTreeMap<&'static str, u64>,
    /// Messages that wait in the stream, as it was seen last.
    pub(super) waiting: u64,
    /// By tenant, rule and what happened.
    pub(super) swaps: BTreeMap<(String, String, Action), u64>,
    /// What there is of each tenant's rules, by tenant.
    rules: Vec<Vec<Listed>>,
}

/// What is one tenant's.
pub(super) struct OfTenant {
    pub(super) account: Accounting,
    /// Events that do not say what a rule goes by, by the rule's id.
    pub(super) blind: BTreeMap<String, u64>,
    seconds: Ring,
    minutes: Ring,
    alert_minutes: Ring,
    alerts: VecDeque<Arc<Happening>>,
    faults: VecDeque<Arc<Happening>>,
}

impl OfTenant {
    fn new() -> Self {
        Self {
            account: Accounting::default(),
            blind: BTreeMap::new(),
            seconds: Ring::of_seconds(),
            minutes: Ring::of_minutes(),
            alert_minutes: Ring::of_minutes(),
            alerts: VecDeque::new(),
            faults: VecDeque::new(),
        }
    }
}

/// Whether what is this tenant's is shown to whoever sees one tenant's, or everybody's.
pub(super) fn shows(seen: Option<usize>, tenant: usize) -> bool {
    seen.is_none_or(|seen| seen == tenant)
}

/// A bounded number of versions of each rule: the newest, and before them those older together as the first of them.
pub(super) fn bounded(rules: &[RuleAccounting]) -> Vec<(String, RuleAccounting)> {
    let mut bounded: Vec<(String, RuleAccounting)> = Vec::new();
    for rule in rules.iter().rev() {
        let of_rule = bounded.iter().filter(|(_, known)| known.rule_id == rule.rule_id).count();
        if of_rule < VERSIONS {
            bounded.push((rule.version.to_string(), rule.clone()));
        } else if let Some((version, older)) = bounded.last_mut() {
            "older".clone_into(version);
            older.add(rule);
        }
    }
    bounded
}

impl Figures {
    pub(super) fn new(names: Vec<Arc<str>>) -> Self {
        let counted = Counted {
            tenants: (0..=names.len()).map(|_| OfTenant::new()).collect(),
            deliveries: BTreeMap::new(),
            ignored: BTreeMap::new(),
            judging: Times::default(),
            handled: BTreeMap::new(),
            waiting: 0,
            swaps: BTreeMap::new(),
            rules: vec![Vec::new(); names.len()],
        };
        Self { names, counted: Mutex::new(counted), happenings: broadcast::channel(BEHIND).0 }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer to a delivery.
    pub(super) fn answered(&self, client: &Arc<str>, status: u16) {
        *self.lock().deliveries.entry((Arc::clone(client), status)).or_default() += 1;
    }

    /// Counts what has become of a delivery that was taken.
    pub(super) fn count(&self, judged: &mut JudgedDelivery) {
        let now = Timestamp::now();
        let second = now.as_second();
        let mut happenings = Vec::new();
        for alert in &judged.alerts {
            let text = Arc::clone(&alert.ndjson);
            happenings.push(Happening { tenant: alert.tenant, kind: "alert", text });
        }
        for noted in &judged.noted {
            for verdict in &noted.verdicts {
                if let Verdict::Fault(fault) = &verdict.verdict
                    && let Some(tenant) = noted.tenant
                    && telling::is_news(fault, &verdict.notices)
                {
                    let text = json!({
                        "time": now.to_string(), "tenant": &*self.names[tenant], "rule_id": verdict.package.rule_id(),
                        "rule_version": verdict.package.version().to_string(), "place": noted.place,
                        "reason": fault.to_string(),
                    });
                    happenings.push(Happening { tenant, kind: "fault", text: text.to_string().into() });
                }
            }
        }
        let (tenants, nobodys) = std::mem::take(&mut judged.accounts);
        let mut counted = self.lock();
        counted.judging.add(judged.took);
        if judged.seen.nothing_evaluated().is_some() {
            *told_apart(&mut counted.ignored, &judged.client) += 1;
        }
        for blind in &judged.seen.blind {
            let of_rule = counted.tenants[blind.tenant].blind.entry(blind.blind.package.rule_id().to_owned());
            *of_rule.or_default() += blind.events;
        }
        for (of_tenant, account) in counted.tenants.iter_mut().zip(tenants.into_iter().chain([nobodys])) {
            let records = account.read();
            if records > 0 {
                of_tenant.seconds.add(second, records);
                of_tenant.minutes.add(second, records);
                of_tenant.account.add(account);
            }
        }
        for alert in &judged.alerts {
            counted.tenants[alert.tenant].alert_minutes.add(second, 1);
        }
        for happening in happenings {
            let happening = Arc::new(happening);
            let of_tenant = &mut counted.tenants[happening.tenant];
            let shown = if happening.kind == "alert" { &mut of_tenant.alerts } else { &mut of_tenant.faults };
            shown.push_back(Arc::clone(&happening));
            if shown.len() > SHOWN {
                shown.pop_front();
            }
            // Nobody may be looking.
            let _ = self.happenings.send(happening);
        }
    }

    /// Counts a message out of the stream by what became of it.
    pub(super) fn handled(&self, word: &'static str) {
        *self.lock().handled.entry(word).or_default() += 1;
    }

    /// So many messages wait in the stream.
    pub(super) fn waits(&self, messages: u64) {
        self.lock().waiting = messages;
    }

    /// Counts what has become of a version of a rule.
    pub(super) fn hear(&self, entry: &Entry) {
        let rule = entry.rule_id.clone().unwrap_or_default();
        *self.lock().swaps.entry((entry.tenant.clone(), rule, entry.action)).or_default() += 1;
    }

    /// There are these rules now, by tenant.
    pub(super) fn list(&self, rules: Vec<Vec<Listed>>) {
        self.lock().rules = rules;
    }

    /// What this tenant's, or everybody's, alerts and faults were last, the oldest first; and those to come.
    pub(super) fn happenings(
        &self,
        tenant: Option<usize>,
    ) -> (Vec<Arc<Happening>>, broadcast::Receiver<Arc<Happening>>) {
        let counted = self.lock();
        let receiver = self.happenings.subscribe();
        let of_tenants = counted.tenants.iter().enumerate().filter(|(number, _)| shows(tenant, *number));
        let shown = of_tenants.flat_map(|(_, of_tenant)| of_tenant.alerts.iter().chain(&of_tenant.faults));
        (shown.cloned().collect(), receiver)
    }

    /// The figures of a tenant, or of all.
    pub(super) fn overview(&self, tenant: Option<usize>) -> Value {
        let now = Timestamp::now();
        let second = now.as_second();
        let mut counted = self.lock();
        let (mut seconds, mut minutes, mut alert_minutes) = ([0; 60], [0; 60], [0; 60]);
        let mut totals = [0; 8];
        let mut tenants = Vec::new();
        for (number, of_tenant) in counted.tenants.iter_mut().enumerate() {
            if !shows(tenant, number) {
                continue;
            }
            let rings = [
                (&mut seconds, &mut of_tenant.seconds),
                (&mut minutes, &mut of_tenant.minutes),
                (&mut alert_minutes, &mut of_tenant.alert_minutes),
            ];
            for (sums, ring) in rings {
                sums.iter_mut().zip(ring.counts(second)).for_each(|(sum, count)| *sum += count);
            }
            let account = &of_tenant.account;
            let rules = account.rules();
            let Accounting { evaluated, ignored, suspect, rejected, malformed, .. } = *account;
            let alerts = rules.iter().map(|rule| rule.alert).sum();
            let faults = rules.iter().map(|rule| rule.fault).sum();
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
        let [records, evaluated, ignored, suspect, rejected, malformed, alerts, faults] = totals;
        json!({
            "time": now.to_string(),
            "seconds": seconds.to_vec(), "minutes": minutes.to_vec(), "alerts_minutes": alert_minutes.to_vec(),
            "totals": {
                "records": records, "evaluated": evaluated, "ignored": ignored, "suspect": suspect,
                "rejected": rejected, "malformed": malformed, "alerts": alerts, "faults": faults,
            },
            "tenants": tenants,
        })
    }

    /// The rules of a tenant, or of all, with what they have said.
    pub(super) fn rules(&self, tenant: Option<usize>) -> Value {
        let counted = self.lock();
        let mut rules = Vec::new();
        for (number, listed) in counted.rules.iter().enumerate().filter(|(number, _)| shows(tenant, *number)) {
            let accounts = counted.tenants[number].account.rules();
            for listed in listed {
                let is_it = |rule: &&RuleAccounting| {
                    Some(&rule.rule_id) == listed.rule_id.as_ref() && Some(&rule.version) == listed.version.as_ref()
                };
                let count = accounts.iter().find(is_it);
                let of = |count_of: fn(&RuleAccounting) -> u64| count.map_or(0, count_of);
                rules.push(json!({
                    "tenant": &*self.names[number],
                    "rule_id": listed.rule_id.as_deref().or(listed.file.as_deref()),
                    "version": listed.version.as_ref().map(ToString::to_string),
                    "standing": listed.standing.word(), "since": listed.since, "reason": listed.reason,
                    "sha256": listed.sha256, "signer": listed.signer,
                    "events": of(|rule| rule.events), "alert": of(|rule| rule.alert), "excluded": of(|rule| rule.excluded),
                    "no_match": of(|rule| rule.no_match), "skipped": of(RuleAccounting::skipped),
                    "fault": of(|rule| rule.fault),
                }));
            }
        }
        rules.into()
    }
}
