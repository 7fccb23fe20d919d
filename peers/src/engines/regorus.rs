//! `regorus`: an engine for policies in the language Rego. Runs them in its virtual machine, which is faster than its
//! interpreter.

use ::regorus::languages::rego::compiler::Compiler;
use ::regorus::rvm::RegoVM;
use ::regorus::{Rc, Value};
use anyhow::{Context as _, Result, anyhow};

use crate::engines::PerRecord;
use crate::verdicts::Verdicts;

/// The name of each policy's entry point, and its source.
const RULES: [(&str, &str); 2] = [
    ("data.nodeport_service.alert", include_str!("../../regorus/nodeport_service.rego")),
    ("data.system_principal_public_ip.alert", include_str!("../../regorus/system_principal_public_ip.rego")),
];

pub(crate) struct Regorus(RegoVM);

impl Regorus {
    pub(crate) fn new() -> Result<Self> {
        let mut engine = ::regorus::Engine::new();
        for (name, policy) in RULES {
            engine
                .add_policy(format!("{name}.rego"), policy.to_owned())
                .with_context(|| format!("{name} in peers/regorus is not valid Rego"))?;
        }
        let names = RULES.map(|(name, _)| name);
        let policy = engine.compile_with_entrypoint(&Rc::from(names[0]))?;
        let program = Compiler::compile_from_policy(&policy, &names)
            .map_err(|error| anyhow!("a rule in peers/regorus does not compile: {error}"))?;
        let mut machine = RegoVM::new();
        machine.load_program(program);
        Ok(Self(machine))
    }
}

impl PerRecord for Regorus {
    fn judge(&mut self, record: &str) -> Result<Verdicts> {
        self.0.set_input(Value::from_json_str(record)?);
        let mut alerts = Verdicts::default();
        for (position, alert) in alerts.0.iter_mut().enumerate() {
            *alert = self.0.execute_entry_point_by_index(position)? == Value::Bool(true);
        }
        Ok(alerts)
    }
}
