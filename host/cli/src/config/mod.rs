//! The config in TOML: activation, enrichment, exclusions, limits, the service and tenants.
//!
//! Serde reads the tables, with the places of values (`source`), and each table checks itself. [`Config`] puts them
//! together.

mod activation;
mod exclusions;
#[cfg(feature = "serve")]
mod jetstream;
mod limits;
mod names;
mod quantity;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "serve")]
mod sinks;
mod source;
mod tenants;
mod values;

use std::ops::Range;
use std::path::{Path, PathBuf};

use portcullis::activation::Policy;
use portcullis::enrich::EnrichmentError;
use portcullis::{Exclusion, RuleSet, TenantLimits};
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use activation::ActivationTable;
pub(crate) use activation::policy_over;
use exclusions::ExclusionTable;
use limits::LimitsTable;
use names::{Names, new_name};
#[cfg(feature = "serve")]
use serve::ServeTable;
use source::{ConfigError, Source};
pub(crate) use tenants::Tenant;
use tenants::TenantTable;

/// A config that was read. Exclusions are not compared with the rules yet.
#[derive(Debug)]
pub(crate) struct Config {
    source: Source,
    tables: Tables,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    activation: Option<ActivationTable>,
    #[serde(default)]
    enrichment: EnrichmentTable,
    #[serde(default)]
    exclusions: Vec<ExclusionTable>,
    limits: Option<LimitsTable>,
    #[cfg(feature = "serve")]
    serve: Option<ServeTable>,
    tenants: Option<Vec<TenantTable>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct EnrichmentTable {
    asn_db: Option<Spanned<PathBuf>>,
    cloud_ranges: Option<Spanned<Vec<PathBuf>>>,
}

impl Config {
    /// Reads a config. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or has a wrong key or value.
    pub(crate) fn read(file: &Path) -> Result<Self, ConfigError> {
        let source = Source::read(file)?;
        let tables = Tables::read(source.text()).map_err(|error| source.parse_error(&error))?;
        Ok(Self { source, tables })
    }

    /// Returns the file of the network database.
    pub(crate) fn asn_db(&self) -> Option<PathBuf> {
        self.tables.enrichment.asn_db.as_ref().map(|file| self.source.path(file.get_ref()))
    }

    /// Returns the files of the clouds' address ranges.
    pub(crate) fn cloud_ranges(&self) -> Vec<PathBuf> {
        let files = self.tables.enrichment.cloud_ranges.as_ref().map(Spanned::get_ref);
        files.into_iter().flatten().map(|file| self.source.path(file)).collect()
    }

    /// Returns the error of a key, `asn-db` or `cloud-ranges`, that names an unusable file.
    #[must_use]
    pub(crate) fn wrong_file(&self, key: &str, error: &EnrichmentError) -> ConfigError {
        let EnrichmentTable { asn_db, cloud_ranges } = &self.tables.enrichment;
        let span = match key {
            "asn-db" => asn_db.as_ref().map(Spanned::span),
            _ => cloud_ranges.as_ref().map(Spanned::span),
        };
        self.source.error_at(span.unwrap_or_default(), format!("{key}: {error}"))
    }

    /// Returns the limits of tenants without limits of their own.
    ///
    /// # Errors
    /// A limit is out of its range.
    pub(crate) fn limits(&self) -> Result<TenantLimits, ConfigError> {
        let limits = self.tables.limits.as_ref();
        Ok(limits.map(|table| table.over(TenantLimits::default(), &self.source)).transpose()?.unwrap_or_default())
    }

    /// Returns the tenants. A config without tenants has one, which owns all records.
    ///
    /// # Errors
    /// Two tenants have the same name, a tenant has no records, or a value is wrong.
    pub(crate) fn tenants(&self) -> Result<Vec<Tenant>, ConfigError> {
        let (source, base) = (&self.source, self.limits()?);
        let policy = self.tables.activation.as_ref().map(|table| table.over(&Policy::default(), source));
        let policy = policy.transpose()?.unwrap_or_default();
        let Some(tables) = &self.tables.tenants else {
            return Ok(vec![Tenant { limits: base, policy, ..Tenant::default() }]);
        };
        if let Some(table) = self.tables.exclusions.first() {
            let what =
                "exclusions: this config has tenants; move each exclusion to [[tenants.exclusions]] of its tenant";
            return Err(source.error(&table.rule, what));
        }
        if tables.is_empty() {
            let what = "tenants: is an empty list; add a tenant, or remove the key to have one tenant for all records";
            return Err(source.error_in_all(what));
        }
        let mut names = Names::new();
        tables
            .iter()
            .map(|table| {
                let name = new_name(source, "tenants", &table.name, &mut names)?;
                table.tenant(source, base, &policy, self.has_client_of(name))
            })
            .collect()
    }

    /// Returns the exclusions of a tenant. If `rules` is given, each must be for one of them.
    ///
    /// # Errors
    /// An exclusion is for an unknown rule or for all events, or a value is wrong.
    pub(crate) fn exclusions(&self, tenant: &str, rules: Option<&RuleSet>) -> Result<Vec<Exclusion>, ConfigError> {
        let own = self.tables.tenants.iter().flatten().find(|table| table.name() == tenant);
        let tables = own.map_or(&*self.tables.exclusions, |table| table.exclusions.as_deref().unwrap_or_default());
        tables.iter().map(|table| table.exclusion(&self.source, rules)).collect()
    }

    /// Checks the policy of a tenant that uses the embedded rules.
    ///
    /// # Errors
    /// It has trusted keys, although the embedded rules are not signed, or pins, although their versions are fixed.
    pub(crate) fn check_embedded(&self, tenant: &str, policy: &Policy) -> Result<(), ConfigError> {
        let place = |of: fn(&ActivationTable) -> Option<Range<usize>>| {
            let own = self.tables.tenants.iter().flatten().find(|table| table.name() == tenant);
            let own = own.and_then(|table| table.activation.as_ref()).and_then(of);
            own.or_else(|| self.tables.activation.as_ref().and_then(of)).unwrap_or_default()
        };
        let (key, why, place) = if policy.trusted_keys.is_some() {
            ("trusted-keys", "which are not signed", place(ActivationTable::trusted_keys))
        } else if !policy.versions.is_empty() {
            ("versions", "whose versions are fixed", place(ActivationTable::pins))
        } else {
            return Ok(());
        };
        let what = format!(
            "{key}: {tenant} uses the embedded rules, {why}; name packages with rules or --rules, or remove {key}"
        );
        Err(self.source.error_at(place, what))
    }

    /// Returns the settings of the service, if the config has them.
    ///
    /// # Errors
    /// A value is wrong.
    #[cfg(feature = "serve")]
    pub(crate) fn serve(&self) -> Result<Option<portcullis_serve::Settings>, ConfigError> {
        let tenants: Vec<&str> = match &self.tables.tenants {
            Some(tenants) => tenants.iter().map(TenantTable::name).collect(),
            None => vec![portcullis::pipeline::DEFAULT_TENANT],
        };
        self.tables.serve.as_ref().map(|table| table.settings(&self.source, &tenants)).transpose()
    }

    /// Returns whether the config has a client that sends records of this tenant.
    fn has_client_of(&self, tenant: &str) -> bool {
        #[cfg(feature = "serve")]
        let mut clients = self.tables.serve.iter().flat_map(ServeTable::tenants_of_clients);
        #[cfg(not(feature = "serve"))]
        let mut clients = std::iter::empty::<&str>();
        clients.any(|named| named == tenant)
    }
}

impl Tables {
    fn read(text: &str) -> Result<Self, toml::de::Error> {
        #[cfg_attr(not(feature = "serve"), expect(unused_mut, reason = "only sinks are changed"))]
        let mut document = DeTable::parse(text)?;
        #[cfg(feature = "serve")]
        sinks::tag(document.get_mut());
        Self::deserialize(toml::Deserializer::from(document))
    }
}
