//! Judges one record, and reports what to write about it.

use portcullis_event::Outcome;

use super::outcomes::Outcomes;
use crate::pipeline::{
    Judged, Judgement, LedgerLine, LedgerMembers, RuleVerdict, Tenants, Unclaimed, Verdict, ledger_line, reject_line,
};
use crate::read::Record;
use portcullis_alert::Alert;

/// Selects what to write about records.
#[derive(Clone, Copy, Debug)]
pub struct ReportOptions {
    /// A line of the ledger for each record.
    pub ledger: bool,
    /// A line for each record that is rejected, has malformed fields or made a rule fault.
    pub rejects: bool,
    /// Times of events, which close incidents.
    pub times: bool,
}

/// The origin of records.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'o> {
    /// Name of the input.
    pub input: &'o str,
    /// The tenant that all of them belong to; without it, claims decide.
    pub tenant: Option<usize>,
    /// The id of the batch that they are in. Lines about them then have it, and those of evaluated records have their
    /// places and audit ids too.
    pub batch: Option<&'o str>,
}

/// The lines to write about a record, and its notifications.
#[derive(Debug)]
pub struct RecordReport {
    /// Its number among the records that are counted together, from 0.
    pub n: u64,
    /// Its input and place; empty if nothing else in the report needs it.
    pub place: String,
    /// Its tenant.
    pub tenant: Option<usize>,
    /// Its line in the ledger.
    pub ledger: Option<LedgerLine>,
    /// Its line in the rejects.
    pub reject: Option<LedgerLine>,
    /// The time of its event; `None` if it is not an event, and `Some(None)` if the event has no time.
    pub time: Option<Option<String>>,
    /// The reason why it belongs to no tenant.
    pub unclaimed: Option<Unclaimed>,
    /// Alerts, faults, and verdicts with notices.
    pub verdicts: Vec<RuleVerdict>,
    /// Whether a rule about source addresses was called although the source's network is unknown.
    pub wanted_networks: bool,
}

impl RecordReport {
    /// Returns the approximate number of bytes to write for it.
    #[must_use]
    pub fn size(&self) -> usize {
        let lines = self.ledger.iter().chain(&self.reject).map(LedgerLine::len).sum::<usize>();
        lines + self.alerts().map(Alert::size).sum::<usize>()
    }

    /// Returns the alerts among the verdicts.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.verdicts.iter().filter_map(|verdict| match &verdict.verdict {
            Verdict::Alert(alert) => Some(&**alert),
            _ => None,
        })
    }
}

/// Judges a record, counts it in `outcomes`, and returns what to write about it, if there is anything.
pub fn judge_record(
    tenants: &mut Tenants,
    options: ReportOptions,
    outcomes: &mut Outcomes,
    origin: Origin<'_>,
    record: &Record<'_>,
    outcome: Outcome<'_>,
) -> Option<RecordReport> {
    let Origin { input, tenant, batch } = origin;
    let n = outcomes.records;
    let place = || format!("{input}:{}", record.place);
    outcomes.count(&outcome, &place);
    let time = match &outcome {
        Outcome::Evaluated(event) if options.times => Some(event.event_time.as_ref().map(ToString::to_string)),
        _ => None,
    };
    let members = options.ledger.then(|| {
        let mut members = LedgerMembers::default();
        if let Some(batch) = batch {
            members.add("batch", batch);
            if let Outcome::Evaluated(event) = &outcome {
                members.add_place(&place);
                members.add("audit_id", &event.audit_id.as_deref());
            }
        }
        members
    });
    let Judged { tenant, judgement } = match tenant {
        Some(tenant) => tenants.outcome_of(tenant, outcome),
        None => tenants.outcome(outcome, record.bytes, input),
    };
    let name = tenant.map(|tenant| tenants.all()[tenant].0.tenant());
    let ledger = members.map(|members| ledger_line(members, &place, name, record.bytes, &judgement));
    let has_rules = tenant.is_none_or(|tenant| tenants.all()[tenant].0.rules().has_rules());
    let reject = if options.rejects { reject_line(&place, name, has_rules, record.bytes, &judgement) } else { None };
    let reject = match batch {
        Some(batch) => reject.map(|line| line.with("batch", &batch.into())),
        None => reject,
    };
    let (unclaimed, verdicts) = match judgement {
        Judgement::Unclaimed(unclaimed) => (Some(unclaimed), Vec::new()),
        Judgement::Evaluated { verdicts, .. } => (None, verdicts.into_judged()),
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

/// Returns whether a report contains a verdict, which is otherwise only counted.
fn is_reported(verdict: &RuleVerdict) -> bool {
    !verdict.notices.is_empty() || matches!(verdict.verdict, Verdict::Alert(_) | Verdict::Fault(_))
}
