//! `[serve.jetstream]`: what carries deliveries, alerts and packages from machine to machine.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::quantity::{GIB, Given, MIB, Unit};
use super::{Config, ConfigError};

/// A NATS server with `JetStream`, and what it is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JetStream {
    /// Its addresses, one or several with commas between them.
    pub url: String,
    /// A file of credentials, as `nsc` writes it.
    pub credentials_file: Option<PathBuf>,
    /// A file with a token.
    pub token_file: Option<PathBuf>,
    /// A file with the certificates to trust, in PEM; else the system's.
    pub ca: Option<PathBuf>,
    /// What the names of all streams, subjects and buckets begin with.
    pub prefix: String,
    /// Whether deliveries that come over HTTP are stored in it, instead of being judged at once.
    pub ingest: bool,
    /// Whether deliveries that are stored in it are judged here.
    pub work: bool,
    /// Whether tenants without rules of their own have those that are published in it.
    pub rules: bool,
    /// After so long a delivery that is neither judged nor being judged is another replica's.
    pub ack_wait: Duration,
    /// So often a delivery is tried before it becomes a dead letter.
    pub attempts: u32,
    /// The most bytes that wait to be judged; beyond, deliveries are refused.
    pub max_bytes: u64,
    /// How many servers keep each message.
    pub replicas: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct JetStreamTable {
    url: Spanned<String>,
    credentials_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    prefix: Option<Spanned<String>>,
    ingest: Option<bool>,
    work: Option<bool>,
    rules: Option<bool>,
    ack_wait: Given,
    attempts: Given,
    max_bytes: Given,
    replicas: Given,
}

impl Config {
    pub(super) fn jetstream(&self, table: &JetStreamTable) -> Result<JetStream, ConfigError> {
        let wrong = |span, what| self.error_at(span, what);
        let path = |path: &PathBuf| self.folder().join(path);
        let is_url = |url: &str| ["nats://", "tls://"].iter().any(|scheme| url.starts_with(scheme));
        if !table.url.get_ref().split(',').all(|url| is_url(url.trim())) {
            let what = "url: expected one or several such as \"nats://127.0.0.1:4222\" or \"tls://nats.example:4222\"";
            return Err(self.error(&table.url, what.to_owned()));
        }
        if table.url.get_ref().contains('@') {
            let what =
                "url: who connects is not for the address, which is told in logs: give credentials-file or token-file";
            return Err(self.error(&table.url, what.to_owned()));
        }
        let prefix = table.prefix.as_ref().map_or("portcullis", |prefix| prefix.get_ref());
        let is_prefix = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if let Some(given) = &table.prefix
            && (prefix.is_empty() || prefix.len() > 32 || !prefix.chars().all(is_prefix))
        {
            let what = "prefix: expected 1 to 32 of the characters a-z, A-Z, 0-9, - and _";
            return Err(self.error(given, what.to_owned()));
        }
        let ack_wait = Unit::Milliseconds.given("ack-wait", &table.ack_wait, 1_000..=3_600_000, &wrong)?;
        let attempts = Unit::None.given("attempts", &table.attempts, 1..=1_000, &wrong)?.unwrap_or(10);
        let max_bytes = Unit::Bytes.given("max-bytes", &table.max_bytes, 16 * MIB..=65_536 * GIB, &wrong)?;
        let replicas = Unit::None.given("replicas", &table.replicas, 1..=5, &wrong)?.unwrap_or(1);
        Ok(JetStream {
            url: table.url.get_ref().clone(),
            credentials_file: table.credentials_file.as_ref().map(path),
            token_file: table.token_file.as_ref().map(path),
            ca: table.ca.as_ref().map(path),
            prefix: prefix.to_owned(),
            ingest: table.ingest.unwrap_or(true),
            work: table.work.unwrap_or(true),
            rules: table.rules.unwrap_or(false),
            ack_wait: Duration::from_millis(ack_wait.unwrap_or(30_000)),
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            max_bytes: max_bytes.unwrap_or(8 * GIB),
            replicas: usize::try_from(replicas).unwrap_or(1),
        })
    }
}
