//! A model of the judges and of activation: rules are files of a folder, and a batch is a list of records that say what
//! comes of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use portcullis::Accounting;
use portcullis::alert::id_of;
use portcullis::pipeline::LedgerLine;
use portcullis::report::Outcomes;
use portcullis::rule_set::RuleSets;
use serde_json::json;
use tokio::time::sleep;

use super::dice::Dice;
use super::disk::Platter;
use crate::ingest::{Answer, Batch, CheckedBatch, HasRules, JudgedBatch, Judging, Refused, UncheckedBatch, with_end};
use crate::machine::{Machine, read_whole};
use crate::sink_alert::SinkAlert;
use crate::storage::{Line, LineId};

/// The rules of all tenants, each with its active version.
pub(super) type ActiveRules = Arc<Mutex<Vec<BTreeMap<String, u64>>>>;

/// A model of the judges.
pub(super) struct ModelJudge {
    pub(super) dice: Dice,
    pub(super) platter: Platter,
    pub(super) rules: ActiveRules,
}

/// A kind of record, which says what comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing comes of it.
    Quiet,
    /// An alert.
    Alerts,
    /// An alert that the endpoint refuses.
    Refused,
    /// It cannot be read, and becomes a dead letter.
    Broken,
    /// The process that judges it dies.
    Deadly,
    /// Its results take most of the memory that its client may use.
    Large,
    /// Its results take more memory than there is.
    Huge,
}

impl Kind {
    const ALL: [(Self, &str); 7] = [
        (Self::Quiet, "quiet"),
        (Self::Alerts, "alerts"),
        (Self::Refused, "refused"),
        (Self::Broken, "broken"),
        (Self::Deadly, "deadly"),
        (Self::Large, "large"),
        (Self::Huge, "huge"),
    ];

    pub(super) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).expect("all are listed").1
    }

    /// Returns the kind of a record of this id.
    pub(super) fn of(record: &str) -> Self {
        let name = record.split('-').next().unwrap_or_default();
        Self::ALL.iter().find(|(_, known)| *known == name).expect("a kind").0
    }
}

/// Returns the records of a body.
pub(super) fn records(body: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(body).split_whitespace().map(str::to_owned).filter(|word| word != "#").collect()
}

fn outcomes(records: &[String]) -> Outcomes {
    let mut outcomes = Outcomes::default();
    outcomes.records = records.len() as u64;
    outcomes
}

/// Returns the id of the alert on a record.
pub(super) fn alert_id(record: &str) -> LineId {
    LineId::of(&id_of(&[record.as_bytes()])).expect("an id")
}

fn lock(rules: &ActiveRules) -> MutexGuard<'_, Vec<BTreeMap<String, u64>>> {
    rules.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ModelJudge {
    async fn judged(&self, batch: Batch) -> Answer {
        let tenant = batch.tenant.expect("each client has a tenant");
        let rules = lock(&self.rules)[tenant].clone();
        sleep(self.dice.up_to(Duration::from_millis(30))).await;
        let records = records(&batch.body);
        if records.iter().any(|record| Kind::of(record) == Kind::Deadly) {
            self.platter.crash();
            std::future::pending::<()>().await;
        }
        if rules.is_empty() {
            return Err(Refused::NotReady("the tenant has no active rule".to_owned()));
        }
        let rules: Vec<String> = rules.iter().map(|(rule, version)| format!("{rule}@{version}")).collect();
        let (mut alerts, mut ledger, mut dead_letters) = (Vec::new(), Vec::new(), Vec::new());
        let mut size = 0;
        for record in &records {
            let kind = Kind::of(record);
            let line = LedgerLine::new(&json!({"record": record, "rules": rules}));
            size += line.len() as u64;
            ledger.push(Line::Numbered(line.with("batch", &json!(&*batch.id))));
            match kind {
                Kind::Alerts | Kind::Refused => {
                    let id = alert_id(record);
                    let text = json!({"alert_id": id.to_string(), "record": record}).to_string();
                    size += text.len() as u64;
                    alerts.push(SinkAlert { id, tenant, ndjson: text.into(), ocsf: None });
                }
                Kind::Broken => {
                    let line = LedgerLine::new(&json!({"record": record, "reason": "it is broken"}));
                    dead_letters.push(Line::Numbered(line.with("batch", &json!(&*batch.id))));
                }
                Kind::Large => size += 20 << 10,
                Kind::Huge => size += 1 << 20,
                Kind::Quiet | Kind::Deadly => {}
            }
        }
        let mut accounts = vec![Accounting::default(); lock(&self.rules).len()];
        accounts[tenant].evaluated = records.len() as u64;
        Ok(JudgedBatch {
            id: batch.id,
            client: batch.client,
            without_rules: Vec::new(),
            outcomes: outcomes(&records),
            accounts: (accounts, Accounting::default()),
            rules: RuleSets::from([]),
            alerts,
            ledger: with_end(ledger).into(),
            dead_letters: dead_letters.into(),
            reports: Vec::new(),
            took: Duration::ZERO,
            size,
        })
    }
}

impl Judging for ModelJudge {
    fn judge(&self, batch: Batch) -> BoxFuture<'_, Answer> {
        self.judged(batch).boxed()
    }

    fn check(&self, batch: UncheckedBatch) -> BoxFuture<'_, Result<CheckedBatch, Refused>> {
        async move {
            sleep(self.dice.up_to(Duration::from_millis(5))).await;
            let id =
                id_of(&[batch.client.as_bytes(), batch.tenant.as_deref().unwrap_or_default().as_bytes(), &batch.body]);
            Ok(CheckedBatch { id, outcomes: outcomes(&records(&batch.body)), packed: batch.body.to_vec() })
        }
        .boxed()
    }

    fn rules_of(&self, tenant: usize) -> HasRules {
        if lock(&self.rules)[tenant].is_empty() { HasRules::No } else { HasRules::Yes }
    }
}

/// Reads the packages in the folder of each tenant, and activates the newest version of each rule that passes its
/// checks, as the activator does.
pub(super) async fn activate(machine: &dyn Machine, folders: &[PathBuf], rules: &ActiveRules) {
    for (tenant, folder) in folders.iter().enumerate() {
        let Ok(files) = machine.disk().list(folder) else { return };
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for file in files {
            let Some((rule, version)) = file.strip_suffix(".wasm").and_then(|name| name.split_once('@')) else {
                continue;
            };
            let version: u64 = version.parse().expect("a number");
            // Test cases take their time.
            sleep(Duration::from_millis(20)).await;
            let is_good = read_whole(machine.disk(), &folder.join(&file)).ok().flatten().as_deref() == Some(b"good");
            let newest = found.entry(rule.to_owned()).or_default();
            if is_good && version > *newest {
                *newest = version;
            }
        }
        found.retain(|_, version| *version > 0);
        lock(rules)[tenant] = found;
    }
}
