//! `vrl`: the engine for programs in the Vector Remap Language, which Vector uses.

use ::vrl::compiler::runtime::Runtime;
use ::vrl::compiler::{Program, TargetValueRef, TimeZone, compile};
use ::vrl::diagnostic::Formatter;
use ::vrl::value::{ObjectMap, Secrets, Value};
use anyhow::{Result, anyhow, bail};

use crate::engines::PerRecord;
use crate::verdicts::Verdicts;

const RULES: [&str; 2] =
    [include_str!("../../vrl/nodeport_service.vrl"), include_str!("../../vrl/system_principal_public_ip.vrl")];

pub(crate) struct Vrl {
    rules: Vec<Program>,
    runtime: Runtime,
    /// What a program can read besides the event: empty here.
    metadata: Value,
    secrets: Secrets,
}

impl Vrl {
    pub(crate) fn new() -> Result<Self> {
        let functions = ::vrl::stdlib::all();
        let compiled = RULES.iter().map(|rule| match compile(rule, &functions) {
            Ok(compiled) => Ok(compiled.program),
            Err(errors) => Err(anyhow!("a rule in peers/vrl does not compile:\n{}", Formatter::new(rule, errors))),
        });
        Ok(Self {
            rules: compiled.collect::<Result<_>>()?,
            runtime: Runtime::default(),
            metadata: Value::Object(ObjectMap::new()),
            secrets: Secrets::new(),
        })
    }
}

impl PerRecord for Vrl {
    fn judge(&mut self, record: &str) -> Result<Verdicts> {
        let mut event: Value = serde_json::from_str(record)?;
        let mut target = TargetValueRef { value: &mut event, metadata: &mut self.metadata, secrets: &mut self.secrets };
        let mut alerts = Verdicts::default();
        for (rule, alert) in self.rules.iter().zip(&mut alerts.0) {
            *alert = match self.runtime.resolve(&mut target, rule, &TimeZone::default())? {
                Value::Boolean(alert) => alert,
                other => bail!("a rule in peers/vrl returned {other}, expected true or false"),
            };
            // The next program must not see this one's variables.
            self.runtime.clear();
        }
        Ok(alerts)
    }
}
