//! `[[tenants]]`: the tenants and what identifies their records.

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

/// A tenant of the config. Its rules are not loaded yet.
#[derive(Debug)]
pub(crate) struct Tenant {
    /// Its name.
    pub(crate) name: String,
    /// Packages, or folders of packages. `None` for the default rules.
    pub(crate) rules: Option<Vec<PathBuf>>,
    /// What identifies its records. Empty if only clients of the service send them; `None` if all records are its own.
    pub(crate) claims: Option<Vec<Claim>>,
    /// The limits of its rules.
    pub(crate) limits: TenantLimits,
    /// The versions that it wants, its trusted keys, and how versions become active.
    pub(crate) policy: Policy,
}

impl Default for Tenant {
    /// Returns the tenant of a config without tenants.
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

/// Values by fields of the record, or by `input`.
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

    /// Returns the tenant. Limits and policy apply if the table does not set them. `has_client` says whether a client
    /// of the service sends its records.
    pub(super) fn tenant(
        &self,
        source: &Source,
        base: TenantLimits,
        policy: &Policy,
        has_client: bool,
    ) -> Result<Tenant, ConfigError> {
        let name = self.name();
        if let Some(rules) = self.rules.as_ref().filter(|rules| rules.get_ref().is_empty()) {
            let what = "rules: is an empty list; name packages or folders, or remove the key to use the default rules";
            return Err(source.error(rules, what));
        }
        let records = self.records.as_deref().unwrap_or_default();
        if records.is_empty() && !has_client {
            let what = format!(
                "records: is missing; name what identifies the records of {name}, such as \
                 records = [{{ p_source_label = \"{name}-*\" }}], or name {name} as tenant of one of [[serve.clients]]"
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
        // Without the field's name, because it is a field of the record and not of the event.
        if let Some(wrong) = wrong_texts("", texts.get_ref()) {
            return Err(source.error(texts, format!("records: {key}: {wrong}")));
        }
        let patterns: Vec<Pattern> = texts.get_ref().0.iter().map(|text| Pattern::new(text)).collect();
        if key == "input" {
            claim.inputs = patterns;
        } else {
            let path = FieldPath::new(key).ok_or_else(|| {
                let what = "expected input, or the path of a field such as \"p_source_label\" or \
                            \"resource.labels.cluster_name\"";
                source.error(texts, format!("records: {key:?}: {what}"))
            })?;
            claim.fields.push((path, patterns));
        }
    }
    if claim == Claim::default() {
        let what = "records: {} would match every record; name a field or input".to_owned();
        return Err(source.error(table, what));
    }
    Ok(claim)
}
