//! One record, judged, and what is to be written about it.

use portcullis_event::Outcome;

use super::outcomes::Outcomes;
use crate::pipeline::{
    Judged, Judgement, LedgerLine, RuleVerdict, Tenants, Unclaimed, Verdict, ledger_line, reject_line,
};
use crate::read::Record;
use portcullis_alert::Alert;

/// What is to be written about records.
#[derive(Clone, Copy, Debug)]
pub struct ReportOptions {
    /// A line of the ledger for each record.
    pub ledger: bool,
    /// A line for each record that is rejected, has malformed fields or made a rule fault.
    pub rejects: bool,
    /// The times of events, by which incidents are closed.
    pub times: bool,
}

/// Where records come from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'o> {
    /// The name of the input.
    pub input: &'o str,
    /// The tenant that all of them belong to; without it, claims decide.
    pub tenant: Option<usize>,
}

/// What is to be written about a record.
#[derive(Debug)]
pub struct RecordReport {
    /// Its number among the records that were counted together, from 0.
    pub n: u64,
    /// Input and place; empty where nothing else in the report needs it.
    pub place: String,
    /// Its tenant.
    pub tenant: Option<usize>,
    /// Its line in the ledger.
    pub ledger: Option<LedgerLine>,
    /// Its line in the rejects.
    pub reject: Option<LedgerLine>,
    /// The time of its event: present for an event, and empty for an event without a time.
    pub time: Option<Option<String>>,
    /// Why it belongs to no tenant.
    pub unclaimed: Option<Unclaimed>,
    /// Alerts, faults, and verdicts with notices.
    pub verdicts: Vec<RuleVerdict>,
    /// A rule about source addresses was asked, and nothing says whose network the source is in.
    pub wanted_networks: bool,
}

impl RecordReport {
    /// The alerts among the verdicts.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.verdicts.iter().filter_map(|verdict| match &verdict.verdict {
            Verdict::Alert(alert) => Some(&**alert),
            _ => None,
        })
    }
}

/// Judges a record, counts it in `outcomes`, and returns what is to be written about it, if anything is.
pub fn judge_record(
    tenants: &mut Tenants,
    options: ReportOptions,
    outcomes: &mut Outcomes,
    origin: Origin<'_>,
    record: &Record<'_>,
    outcome: Outcome<'_>,
) -> Option<RecordReport> {
    let Origin { input, tenant } = origin;
    let n = outcomes.records;
    let place = || format!("{input}:{}", record.place);
    outcomes.count(&outcome, &place);
    let time = match &outcome {
        Outcome::Evaluated(event) if options.times => Some(event.event_time.as_ref().map(ToString::to_string)),
        _ => None,
    };
    let Judged { tenant, judgement } = match tenant {
        Some(tenant) => tenants.outcome_of(tenant, outcome),
        None => tenants.outcome(outcome, record.bytes, input),
    };
    let name = tenant.map(|tenant| tenants.all()[tenant].0.tenant());
    let ledger = options.ledger.then(|| ledger_line(&place, name, record.bytes, &judgement));
    let reject = if options.rejects { reject_line(&place, name, record.bytes, &judgement) } else { None };
    let (unclaimed, verdicts) = match judgement {
        Judgement::Unclaimed(unclaimed) => (Some(unclaimed), Vec::new()),
        Judgement::Evaluated { verdicts, .. } => (None, verdicts.into_asked()),
        Judgement::Ignored(_) | Judgement::Rejected(_) => (None, Vec::new()),
    };
    let verdicts: Vec<RuleVerdict> = verdicts.into_iter().filter(is_reported).collect();
    let wanted_networks = tenant.is_some_and(|tenant| tenants.judge(tenant).take_wanted_networks());
    if let Some(tenant) = tenant {
        outcomes.count_blind(tenant, tenants.judge(tenant).take_blind(), &place);
    }
    let needs_place = unclaimed.is_some() || !verdicts.is_empty() || wanted_networks;
    let is_reported = needs_place || ledger.is_some() || reject.is_some() || time.is_some();
    is_reported.then(|| RecordReport {
        n,
        place: if needs_place { place() } else { String::new() },
        tenant,
        ledger,
        reject,
        time,
        unclaimed,
        verdicts,
        wanted_networks,
    })
}

/// Whether a verdict is more than a count.
fn is_reported(verdict: &RuleVerdict) -> bool {
    !verdict.notices.is_empty() || matches!(verdict.verdict, Verdict::Alert(_) | Verdict::Fault(_))
}
