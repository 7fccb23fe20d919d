//! Portcullis: reads raw records in one thread, with each of the two embedded rules in its own sandbox.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use portcullis::{Judge, Judgement, Limits, RuleSet, Verdict, embedded};

use crate::engines::PerRecord;
use crate::verdicts::Verdicts;

pub(crate) struct Portcullis(Judge);

impl Portcullis {
    pub(crate) fn new() -> Result<Self> {
        let engine = portcullis::Engine::new()?;
        let rules = RuleSet::new(embedded::packages(&engine)?)?;
        Ok(Self(Judge::new(Arc::new(rules), Limits::default())))
    }
}

impl PerRecord for Portcullis {
    fn judge(&mut self, record: &str) -> Result<Verdicts> {
        let verdicts = match self.0.record(record.as_bytes()) {
            Judgement::Evaluated { verdicts, .. } => verdicts,
            other => bail!("the record was not evaluated: {other:?}"),
        };
        let mut alerts = Verdicts::default();
        for verdict in verdicts.into_judged() {
            let rule = verdict.package.rule_id();
            match verdict.verdict {
                Verdict::Alert(_) => {
                    ensure!(alerts.add(rule), "the embedded rule {rule} is not one of the compared rules");
                }
                Verdict::NoMatch | Verdict::Skipped => {}
                Verdict::Excluded { .. } => bail!("{rule} has an exclusion, but none is configured"),
                Verdict::Fault(fault) => bail!("{rule} failed: it {fault}"),
            }
        }
        Ok(alerts)
    }
}
