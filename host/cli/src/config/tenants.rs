//! `[[tenants]]`: who they are, and how their records are known.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::activation::ActivationTable;
use super::exclusions::ExclusionTable;
use super::limits::LimitsTable;
use super::source::{ConfigError, Source};
use super::values::{Texts, wrong_texts};
use portcullis::TenantLimits;
use portcullis::activation::Policy;
use portcullis::package::Pattern;
use portcullis::pipeline::{Claim, DEFAULT_TENANT, FieldPath};

/// A tenant as the config has it; its rules are yet to be loaded.
#[derive(Debug)]
pub(crate) struct Tenant {
    /// Its name.
    pub(crate) name: String,
    /// Packages, or folders of them; where the config says nothing, the same as without a config.
    pub(crate) rules: Option<Vec<PathBuf>>,
    /// What its records are known by; nothing, where only a client of the service brings them. A config without tenants has
    /// one, whose all records are.
    pub(crate) claims: Option<Vec<Claim>>,
    /// What its rules may take.
    pub(crate) limits: TenantLimits,
    /// Which versions of them it wants, from whom, and how they become active.
    pub(crate) policy: Policy,
}

impl Default for Tenant {
    /// Returns the one tenant of a config that names none.
    fn default() -> Self {
        Self {
            name: DEFAULT_TENANT.to_owned(),
            rules: None,
            claims: None,
            limits: TenantLimits::default(),
            policy: Policy::default(),
        }
    }
}

/// Fields of the record, or `input`, and their values.
type ClaimTable = BTreeMap<String, Spanned<Texts>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TenantTable {
    pub(super) name: Spanned<String>,
    rules: Option<Spanned<Vec<PathBuf>>>,
    records: Option<Vec<Spanned<ClaimTable>>>,
    limits: Option<LimitsTable>,
    pub(super) activation: Option<ActivationTable>,
    pub(super) exclusions: Option<Vec<ExclusionTable>>,
}

impl TenantTable {
    pub(super) fn name(&self) -> &str {
        self.name.get_ref()
    }

    /// Returns the tenant, with these limits and this policy where the table has none. `has_client` says whether a client of
    /// the service sends its records.
    pub(super) fn tenant(
        &self,
        source: &Source,
        base: TenantLimits,
        policy: &Policy,
        has_client: bool,
    ) -> Result<Tenant, ConfigError> {
        let name = self.name();
        if let Some(rules) = self.rules.as_ref().filter(|rules| rules.get_ref().is_empty()) {
            let what =
                "rules: is an empty list; name packages or folders of them, or leave it out for the default rules";
            return Err(source.error(rules, what));
        }
        let records = self.records.as_deref().unwrap_or_default();
        if records.is_empty() && !has_client {
            let what = format!(
                "records: is missing: say what the records of {name} are known by, such as \
                 records = [{{ p_source_label = \"{name}-*\" }}]; or which of [[serve.clients]] brings them"
            );
            return Err(source.error(&self.name, what));
        }
        Ok(Tenant {
            name: name.to_owned(),
            rules: self.rules.as_ref().map(|rules| rules.get_ref().iter().map(|path| source.path(path)).collect()),
            claims: Some(records.iter().map(|record| claim(source, record)).collect::<Result<_, _>>()?),
            limits: match &self.limits {
                Some(limits) => limits.over(base, source)?,
                None => base,
            },
            policy: match &self.activation {
                Some(activation) => activation.over(policy, source)?,
                None => policy.clone(),
            },
        })
    }
}

/// Returns the claim that a table makes.
fn claim(source: &Source, table: &Spanned<ClaimTable>) -> Result<Claim, ConfigError> {
    let mut claim = Claim::default();
    for (key, texts) in table.get_ref() {
        // Not by the field's name: it is the record's, and no event's.
        if let Some(wrong) = wrong_texts("", texts.get_ref()) {
            return Err(source.error(texts, format!("records: {key}: {wrong}")));
        }
        let patterns: Vec<Pattern> = texts.get_ref().0.iter().map(|text| Pattern::new(text)).collect();
        if key == "input" {
            claim.inputs = patterns;
        } else {
            let path = FieldPath::new(key).ok_or_else(|| {
                let what = "expected the path of a field, names with dots between them, or input";
                source.error(texts, format!("records: {key:?}: {what}"))
            })?;
            claim.fields.push((path, patterns));
        }
    }
    if claim == Claim::default() {
        let what = "records: {} would hold for every record; name a field, or input".to_owned();
        return Err(source.error(table, what));
    }
    Ok(claim)
}
