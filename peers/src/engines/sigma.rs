//! `rsigma-eval`: an engine for rules in the language Sigma.

use anyhow::{Context as _, Result, ensure};
use rsigma_eval::JsonEvent;
use serde_json::Value;

use crate::engines::PerRecord;
use crate::verdicts::Verdicts;

const RULES: [&str; 2] =
    [include_str!("../../sigma/nodeport_service.yml"), include_str!("../../sigma/system_principal_public_ip.yml")];

pub(crate) struct Sigma(rsigma_eval::Engine);

impl Sigma {
    pub(crate) fn new() -> Result<Self> {
        let mut engine = rsigma_eval::Engine::new();
        for rule in RULES {
            let rules = rsigma_parser::parse_sigma_yaml(rule).context("a rule in peers/sigma is not valid Sigma")?;
            ensure!(rules.errors.is_empty(), "a rule in peers/sigma is not valid Sigma: {:?}", rules.errors);
            engine.add_collection(&rules).context("a rule in peers/sigma does not compile")?;
        }
        Ok(Self(engine))
    }
}

impl PerRecord for Sigma {
    fn judge(&mut self, record: &str) -> Result<Verdicts> {
        let event: Value = serde_json::from_str(record)?;
        let mut alerts = Verdicts::default();
        for result in self.0.evaluate(&JsonEvent::borrow(&event)) {
            let rule = &result.header.rule_title;
            ensure!(alerts.add(rule), "the rule {rule} in peers/sigma is not one of the compared rules");
        }
        Ok(alerts)
    }
}
