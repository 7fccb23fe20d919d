//! `jaq-core`: an engine for filters in the language of jq, with the values and the parser of `jaq-json`.

use anyhow::{Context as _, Result, anyhow, bail};
use jaq_core::data::JustLut;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, unwrap_valr};
use jaq_json::{Val, read};

use crate::engines::PerRecord;
use crate::verdicts::Verdicts;

const RULES: [&str; 2] =
    [include_str!("../../jaq/nodeport_service.jq"), include_str!("../../jaq/system_principal_public_ip.jq")];

pub(crate) struct Jaq(Vec<Filter<JustLut<Val>>>);

impl Jaq {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(RULES.iter().map(|rule| compile(rule)).collect::<Result<_>>()?))
    }
}

impl PerRecord for Jaq {
    fn judge(&mut self, record: &str) -> Result<Verdicts> {
        let event = read::parse_single(record.as_bytes())?;
        let mut alerts = Verdicts::default();
        for (rule, alert) in self.0.iter().zip(&mut alerts.0) {
            let context = Ctx::<JustLut<Val>>::new(&rule.lut, Vars::new([]));
            let mut outputs = rule.id.run((context, event.clone())).map(unwrap_valr);
            *alert = match outputs.next().context("a rule in peers/jaq returned nothing, expected true or false")? {
                Ok(Val::Bool(alert)) => alert,
                Ok(other) => bail!("a rule in peers/jaq returned {other}, expected true or false"),
                Err(error) => bail!("a rule in peers/jaq failed: {error}"),
            };
        }
        Ok(alerts)
    }
}

/// Compiles a filter.
fn compile(rule: &str) -> Result<Filter<JustLut<Val>>> {
    // The rules need no definition of `jaq-std`, and some of those need functions that are not built here.
    let functions = jaq_core::funs().chain(jaq_std::base_funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let modules = Loader::new(jaq_core::defs())
        .load(&arena, File { code: rule, path: () })
        .map_err(|errors| anyhow!("a rule in peers/jaq is not a valid filter: {errors:?}"))?;
    Compiler::default()
        .with_funs(functions)
        .compile(modules)
        .map_err(|errors| anyhow!("a rule in peers/jaq does not compile: {errors:?}"))
}
