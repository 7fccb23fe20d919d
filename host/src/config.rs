//! The config: enrichment and exclusions, in TOML.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net};
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;
use portcullis_event::LogType;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use thiserror::Error;
use toml::Spanned;
use toml::value::Datetime;

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
    asn_db: Option<PathBuf>,
    cloud_ranges: Option<Vec<PathBuf>>,
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
        Ok(Self {
            file: file.to_owned(),
            asn_db: enrichment.asn_db.map(|path| folder.join(path)),
            cloud_ranges: enrichment.cloud_ranges.into_iter().flatten().map(|path| folder.join(path)).collect(),
            exclusions: parsed.exclusions.unwrap_or_default(),
            text,
        })
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

/// What is wrong with a field's value, if it cannot be meant.
fn wrong_pattern(name: &str, text: &str) -> Option<String> {
    let beginning = text.strip_suffix('*').unwrap_or(text);
    if beginning.is_empty() {
        return Some(format!("{text:?} holds for every value; name a beginning, such as \"system:*\""));
    }
    if beginning.contains('*') {
        return Some(format!("{text:?} has a * before its end; only one at the end stands for anything"));
    }
    let known = |log_type: &str| if text == beginning { log_type == text } else { log_type.starts_with(beginning) };
    let names = LogType::ALL.map(LogType::as_str);
    (name == "logType" && !names.into_iter().any(known))
        .then(|| format!("{text:?} is no log type; these are: {}", names.join(", ")))
}

/// A network, or a lone address. A network of IPv4-mapped IPv6 addresses is the IPv4 network: addresses are read so.
fn network(text: &str) -> Result<IpNet, String> {
    let network: Result<IpNet, _> = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network = network.map_err(|_| {
        format!("source_ip: {text:?} is no network; expected one such as 192.0.2.0/24 or 2001:db8::/32")
    })?;
    Ok(match (network, network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
        (IpNet::V6(_), IpAddr::V4(address), Some(length)) => Ipv4Net::new_assert(address, length).into(),
        _ => network,
    })
}

/// The instant of a date, at its beginning in UTC, or of a time with its offset.
fn instant(datetime: &Datetime) -> Option<Timestamp> {
    match datetime {
        Datetime { date: Some(_), time: Some(_), offset: Some(_) } => datetime.to_string().parse().ok(),
        Datetime { date: Some(_), time: None, offset: None } => {
            let date: civil::Date = datetime.to_string().parse().ok()?;
            date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        }
        _ => None,
    }
}

/// The line of a place in a text, from 1.
fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or(text.as_bytes());
    1 + memchr::memchr_iter(b'\n', before).count()
}

/// The key that is given a value on a line of TOML, or began to be on a line before it; or the table that begins there.
fn key_at(text: &str, line: usize) -> Option<&str> {
    let lines: Vec<&str> = text.lines().take(line).collect();
    lines.into_iter().rev().find_map(key_in)
}

fn key_in(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let key = match line.strip_prefix('[') {
        Some(table) => table.trim_start_matches('[').split(']').next()?,
        None => line.split_once('=')?.0,
    };
    let key = key.trim();
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    is_key.then_some(key)
}

/// A text, or a list of texts.
#[derive(Debug)]
struct Texts(Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;

        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }

        deserializer.deserialize_any(TextsVisitor)
    }
}
