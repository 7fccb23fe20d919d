//! The config: enrichment and exclusions, in TOML.

mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;
use toml::Spanned;
use toml::value::Datetime;
use values::{Texts, instant, key_at, line_of, network, wrong_pattern};

use crate::enrich::EnrichmentError;
use crate::package::Prefilter;
use crate::{Exclusion, RuleSet};

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
    enrichment: Option<EnrichmentTable>,
    exclusions: Option<Vec<ExclusionTable>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct EnrichmentTable {
    asn_db: Option<Spanned<PathBuf>>,
    cloud_ranges: Option<Spanned<Vec<PathBuf>>>,
}

/// `[[exclusions]]`. The fields that tell events apart have the event's names; `source_ip` is a list of networks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ExclusionTable {
    rule: Spanned<String>,
    reason: Spanned<String>,
    expires: Option<Spanned<Datetime>>,
    #[serde(rename = "source_ip")]
    source_ip: Option<Spanned<Texts>>,
    username: Option<Spanned<Texts>>,
    namespace: Option<Spanned<Texts>>,
    cluster: Option<Spanned<Texts>>,
    name: Option<Spanned<Texts>>,
    resource: Option<Spanned<Texts>>,
    subresource: Option<Spanned<Texts>>,
    api_group: Option<Spanned<Texts>>,
    verb: Option<Spanned<Texts>>,
    user_agent: Option<Spanned<Texts>>,
    user_arn: Option<Spanned<Texts>>,
    #[serde(rename = "requestURI")]
    request_uri: Option<Spanned<Texts>>,
    service_type: Option<Spanned<Texts>>,
    log_type: Option<Spanned<Texts>>,
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
            text,
        })
    }

    /// The error of a config in which the key `asn-db` or `cloud-ranges` names a file that cannot serve.
    #[must_use]
    pub fn wrong_file(&self, key: &str, error: &EnrichmentError) -> ConfigError {
        let line = self.enrichment_lines.get(key).copied();
        ConfigError { file: self.file.clone(), line, what: format!("{key}: {error}") }
    }

    /// The exclusions.
    ///
    /// # Errors
    /// One is for a rule that is not there, for all events, or has a value that cannot be.
    pub fn exclusions(&self, rules: &RuleSet) -> Result<Vec<Exclusion>, ConfigError> {
        self.exclusions.iter().map(|table| self.exclusion(table, rules)).collect()
    }

    fn exclusion(&self, table: &ExclusionTable, rules: &RuleSet) -> Result<Exclusion, ConfigError> {
        let rule_id = table.rule.get_ref();
        if !rules.packages().iter().any(|package| package.rule_id() == rule_id) {
            let ids: Vec<&str> = rules.packages().iter().map(crate::Package::rule_id).collect();
            let what = format!("rule: {rule_id:?} is no active rule; these are: {}", ids.join(", "));
            return Err(self.error(&table.rule, what));
        }
        if table.reason.get_ref().trim().is_empty() {
            return Err(self.error(&table.reason, "reason: is empty; say why these events never alert".to_owned()));
        }
        let mut fields = Map::new();
        for (name, texts) in table.fields() {
            let Some(texts) = texts else { continue };
            if texts.get_ref().0.is_empty() || texts.get_ref().0.iter().any(String::is_empty) {
                return Err(
                    self.error(texts, format!("{name}: expected a text or a list of texts, none of them empty"))
                );
            }
            if let Some(wrong) = texts.get_ref().0.iter().find_map(|text| wrong_pattern(name, text)) {
                return Err(self.error(texts, format!("{name}: {wrong}")));
            }
            fields.insert(name.to_owned(), texts.get_ref().0.clone().into());
        }
        let source_networks = match &table.source_ip {
            None => Vec::new(),
            Some(texts) if texts.get_ref().0.is_empty() => {
                return Err(self.error(texts, "source_ip: is an empty list, which no address is in".to_owned()));
            }
            Some(texts) => {
                let network = |text: &String| network(text).map_err(|what| self.error(texts, what));
                texts.get_ref().0.iter().map(network).collect::<Result<_, _>>()?
            }
        };
        if fields.is_empty() && source_networks.is_empty() {
            let names: Vec<&str> = table.fields().iter().map(|(name, _)| *name).collect();
            let what = format!(
                "exclusions: this one would exclude every alert of {rule_id}; name at least one of source_ip, {}",
                names.join(", ")
            );
            return Err(self.error(&table.rule, what));
        }
        let fields = Prefilter::from_json(&Value::Object(fields))
            .map_err(|wrong| self.error(&table.rule, format!("exclusions: {wrong}")))?;
        let expires = table.expires.as_ref();
        let expires =
            expires.map(|at| instant(at.get_ref()).ok_or_else(|| self.error(at, EXPIRES.to_owned()))).transpose()?;
        let reason = table.reason.get_ref().as_str().into();
        Ok(Exclusion { rule_id: rule_id.clone(), fields, source_networks, reason, expires })
    }

    fn error<T>(&self, culprit: &Spanned<T>, what: String) -> ConfigError {
        ConfigError { file: self.file.clone(), line: Some(line_of(&self.text, &culprit.span())), what }
    }
}

const EXPIRES: &str = "expires: expected a date, from whose beginning in UTC on the events alert again, such as 2027-01-31, \
     or a time with its offset, such as 2027-01-31T18:00:00Z";

impl ExclusionTable {
    /// The fields of the event, by its names for them.
    fn fields(&self) -> [(&'static str, Option<&Spanned<Texts>>); 13] {
        [
            ("username", self.username.as_ref()),
            ("namespace", self.namespace.as_ref()),
            ("cluster", self.cluster.as_ref()),
            ("name", self.name.as_ref()),
            ("resource", self.resource.as_ref()),
            ("subresource", self.subresource.as_ref()),
            ("apiGroup", self.api_group.as_ref()),
            ("verb", self.verb.as_ref()),
            ("userAgent", self.user_agent.as_ref()),
            ("userArn", self.user_arn.as_ref()),
            ("requestURI", self.request_uri.as_ref()),
            ("serviceType", self.service_type.as_ref()),
            ("logType", self.log_type.as_ref()),
        ]
    }
}
