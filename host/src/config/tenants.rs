//! `[[tenants]]`: who they are, and how their records are known.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::activation::ActivationTable;
use super::exclusions::ExclusionTable;
use super::limits::{LimitsTable, TenantLimits};
use super::names::Names;
use super::values::{Texts, wrong_texts};
use super::{Config, ConfigError};
use crate::activation::Policy;
use crate::package::Pattern;
use crate::pipeline::{Claim, DEFAULT_TENANT, FieldPath};

/// A tenant as the config has it; its rules are yet to be loaded.
#[derive(Debug)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// Packages, or folders of them; where the config says nothing, the same as without a config.
    pub rules: Option<Vec<PathBuf>>,
    /// What its records are known by; nothing, where only a client of the service brings them. A config without tenants has
    /// one, whose all records are.
    pub claims: Option<Vec<Claim>>,
    /// What its rules may take.
    pub limits: TenantLimits,
    /// Which versions of them it wants, from whom, and how they become active.
    pub policy: Policy,
}

impl Default for Tenant {
    /// The one tenant of whoever has no config.
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
    name: Spanned<String>,
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
}

impl Config {
    /// The limits of a tenant that has none of its own.
    ///
    /// # Errors
    /// One has a value that cannot be.
    pub fn limits(&self) -> Result<TenantLimits, ConfigError> {
        let wrong = |span, what| self.error_at(span, what);
        let table = self.limits.as_ref().map(|table| table.over(TenantLimits::default(), &wrong));
        Ok(table.transpose()?.unwrap_or_default())
    }

    /// The tenants. A config that names none has one, [`DEFAULT_TENANT`].
    ///
    /// # Errors
    /// Two have one name, one has no way to know its records, or something has a value that cannot be.
    pub fn tenants(&self) -> Result<Vec<Tenant>, ConfigError> {
        let base = self.limits()?;
        let policy = self.policy()?;
        let Some(tables) = &self.tenants else {
            return Ok(vec![Tenant { limits: base, policy, ..Tenant::default() }]);
        };
        if let Some(table) = self.exclusions.first() {
            let what = "exclusions: whose? With tenants, they stand in the tenant's own [[tenants.exclusions]]";
            return Err(self.error(&table.rule, what.to_owned()));
        }
        if tables.is_empty() {
            let what = "tenants: is an empty list; name a tenant, or leave it out: then all records are one tenant's";
            return Err(ConfigError { file: self.file.clone(), line: None, what: what.to_owned() });
        }
        let mut names = Names::new();
        tables
            .iter()
            .map(|table| {
                let name = self.new_name("tenants", &table.name, &mut names)?;
                self.tenant(name, table, base, &policy)
            })
            .collect()
    }

    fn tenant(
        &self,
        name: &str,
        table: &TenantTable,
        base: TenantLimits,
        policy: &Policy,
    ) -> Result<Tenant, ConfigError> {
        if let Some(rules) = table.rules.as_ref().filter(|rules| rules.get_ref().is_empty()) {
            let what =
                "rules: is an empty list; name packages or folders of them, or leave it out for the default rules";
            return Err(self.error(rules, what.to_owned()));
        }
        let records = table.records.as_deref().unwrap_or_default();
        if records.is_empty() && !self.has_client_of(name) {
            let what = format!(
                "records: is missing: say what the records of {name} are known by, such as \
                 records = [{{ p_source_label = \"{name}-*\" }}]; or which of [[serve.clients]] brings them"
            );
            return Err(self.error(&table.name, what));
        }
        let wrong = |span, what| self.error_at(span, what);
        Ok(Tenant {
            name: name.to_owned(),
            rules: table
                .rules
                .as_ref()
                .map(|rules| rules.get_ref().iter().map(|path| self.folder().join(path)).collect()),
            claims: Some(records.iter().map(|record| self.claim(record)).collect::<Result<_, _>>()?),
            limits: match &table.limits {
                Some(limits) => limits.over(base, &wrong)?,
                None => base,
            },
            policy: match &table.activation {
                Some(activation) => activation.over(policy, &wrong)?,
                None => policy.clone(),
            },
        })
    }

    fn claim(&self, table: &Spanned<ClaimTable>) -> Result<Claim, ConfigError> {
        let mut claim = Claim::default();
        for (key, texts) in table.get_ref() {
            // Not by the field's name: it is the record's, and no event's.
            if let Some(wrong) = wrong_texts("", texts.get_ref()) {
                return Err(self.error(texts, format!("records: {key}: {wrong}")));
            }
            let patterns: Vec<Pattern> = texts.get_ref().0.iter().map(|text| Pattern::new(text)).collect();
            if key == "input" {
                claim.inputs = patterns;
            } else {
                let path = FieldPath::new(key).ok_or_else(|| {
                    let what = "expected the path of a field, names with dots between them, or input";
                    self.error(texts, format!("records: {key:?}: {what}"))
                })?;
                claim.fields.push((path, patterns));
            }
        }
        if claim == Claim::default() {
            let what = "records: {} would hold for every record; name a field, or input".to_owned();
            return Err(self.error(table, what));
        }
        Ok(claim)
    }
}
