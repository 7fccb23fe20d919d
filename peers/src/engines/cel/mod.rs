//! `cel`: an engine for expressions in the Common Expression Language.

mod value;

use std::sync::Arc;

use ::cel::{Context, Env, Program, Value};
use anyhow::{Context as _, Result, bail};

use crate::engines::PerRecord;
use crate::verdicts::Verdicts;

const RULES: [&str; 2] =
    [include_str!("../../../cel/nodeport_service.cel"), include_str!("../../../cel/system_principal_public_ip.cel")];

pub(crate) struct Cel {
    env: Arc<Env>,
    rules: Vec<Program>,
}

impl Cel {
    pub(crate) fn new() -> Result<Self> {
        let env = Env::stdlib();
        let compiled = RULES.iter().map(|rule| env.compile(rule).context("a rule in peers/cel is not valid CEL"));
        let rules = compiled.collect::<Result<_>>()?;
        Ok(Self { env: Arc::new(env), rules })
    }
}

impl PerRecord for Cel {
    fn judge(&mut self, record: &str) -> Result<Verdicts> {
        let mut context = Context::with_env(Arc::clone(&self.env));
        context.add_variable_as_val("event", value::from_json(record)?);
        let mut alerts = Verdicts::default();
        for (rule, alert) in self.rules.iter().zip(&mut alerts.0) {
            *alert = match rule.execute(&context)? {
                Value::Bool(alert) => alert,
                other => bail!("a rule in peers/cel returned {other:?}, expected true or false"),
            };
        }
        Ok(alerts)
    }
}
