//! The config: activation, enrichment, exclusions, limits, the service and tenants, in TOML.

mod activation;
mod exclusions;
mod jetstream;
mod limits;
mod names;
mod quantity;
mod serve;
mod sinks;
mod tenants;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

use crate::enrich::EnrichmentError;
use activation::ActivationTable;
pub use activation::policy_over;
use exclusions::ExclusionTable;
pub use jetstream::JetStream;
use limits::LimitsTable;
pub use limits::TenantLimits;
use serve::ServeTable;
pub use serve::{Client, Proof, Role, Serve, Tls};
pub use sinks::{Sink, SinkKind, Webhook};
pub use tenants::Tenant;
use tenants::TenantTable;
use values::{key_at, line_of};

/// A config that has been read, and not yet been held against the rules.
#[derive(Debug)]
pub struct Config {
    file: PathBuf,
    text: String,
    /// The database of networks.
    pub asn_db: Option<PathBuf>,
    /// The files of cloud ranges.
    pub cloud_ranges: Vec<PathBuf>,
    /// The lines of the keys that name files.
    enrichment_lines: BTreeMap<&'static str, usize>,
    exclusions: Vec<ExclusionTable>,
    limits: Option<LimitsTable>,
    activation: Option<ActivationTable>,
    serve: Option<ServeTable>,
    tenants: Option<Vec<TenantTable>>,
}

/// A config that cannot be used.
#[derive(Debug, Error)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1, where one is to blame.
    pub line: Option<usize>,
    /// What is wrong, and what was expected.
    pub what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, what } = self;
        match line {
            Some(line) => write!(formatter, "{}:{line}: {what}", file.display()),
            None => write!(formatter, "{}: {what}", file.display()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    activation: Option<ActivationTable>,
    enrichment: Option<EnrichmentTable>,
    exclusions: Option<Vec<ExclusionTable>>,
    limits: Option<LimitsTable>,
    serve: Option<ServeTable>,
    tenants: Option<Vec<TenantTable>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct EnrichmentTable {
    asn_db: Option<Spanned<PathBuf>>,
    cloud_ranges: Option<Spanned<Vec<PathBuf>>>,
}

impl Config {
    /// Reads a config. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// It cannot be read, is no TOML, or has a key or a value that it should not have.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let error = |line, what: String| ConfigError { file: file.to_owned(), line, what };
        let text = std::fs::read_to_string(file).map_err(|io| error(None, format!("cannot be read: {io}")))?;
        let parsed: File = toml::from_str(&text).map_err(|wrong| {
            let line = wrong.span().map(|span| line_of(&text, &span));
            let key = line.and_then(|line| key_at(&text, line));
            let key = key.filter(|key| !wrong.message().contains(&format!("`{key}`")));
            error(line, key.map(|key| format!("{key}: ")).unwrap_or_default() + wrong.message())
        })?;
        let enrichment = parsed.enrichment.unwrap_or_default();
        let folder = file.parent().unwrap_or(Path::new(""));
        let EnrichmentTable { asn_db, cloud_ranges } = enrichment;
        let spans = [
            ("asn-db", asn_db.as_ref().map(Spanned::span)),
            ("cloud-ranges", cloud_ranges.as_ref().map(Spanned::span)),
        ];
        let enrichment_lines =
            spans.into_iter().filter_map(|(key, span)| Some((key, line_of(&text, &span?)))).collect();
        let cloud_ranges = cloud_ranges.map(Spanned::into_inner).unwrap_or_default();
        Ok(Self {
            file: file.to_owned(),
            asn_db: asn_db.map(|path| folder.join(path.into_inner())),
            cloud_ranges: cloud_ranges.into_iter().map(|path| folder.join(path)).collect(),
            enrichment_lines,
            exclusions: parsed.exclusions.unwrap_or_default(),
            limits: parsed.limits,
            activation: parsed.activation,
            serve: parsed.serve,
            tenants: parsed.tenants,
            text,
        })
    }

    /// The error of a config in which the key `asn-db` or `cloud-ranges` names a file that cannot serve.
    #[must_use]
    pub fn wrong_file(&self, key: &str, error: &EnrichmentError) -> ConfigError {
        let line = self.enrichment_lines.get(key).copied();
        ConfigError { file: self.file.clone(), line, what: format!("{key}: {error}") }
    }

    /// What paths in the config are relative to.
    fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    fn error<T>(&self, culprit: &Spanned<T>, what: String) -> ConfigError {
        self.error_at(culprit.span(), what)
    }

    fn error_at(&self, culprit: Range<usize>, what: String) -> ConfigError {
        ConfigError { file: self.file.clone(), line: Some(line_of(&self.text, &culprit)), what }
    }
}
