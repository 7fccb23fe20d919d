//! `[serve.jetstream]`: the server that carries batches, alerts and packages between replicas.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_serve::settings::JetStreamSettings;
use serde::Deserialize;
use toml::Spanned;

use super::quantity::{GIB, Given, MIB, Unit};
use super::source::{ConfigError, Source};

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

impl JetStreamTable {
    /// Returns the settings of the server.
    pub(super) fn settings(&self, source: &Source) -> Result<JetStreamSettings, ConfigError> {
        let path = |path: &PathBuf| source.path(path);
        let is_url = |url: &str| ["nats://", "tls://"].iter().any(|scheme| url.starts_with(scheme));
        if !self.url.get_ref().split(',').all(|url| is_url(url.trim())) {
            let what = "url: expected URLs such as \"nats://127.0.0.1:4222\" or \"tls://nats.example:4222\", separated by \
                        commas";
            return Err(source.error(&self.url, what));
        }
        if self.url.get_ref().contains('@') {
            let what =
                "url: expected no user or password, because the URL is logged; use credentials-file or token-file";
            return Err(source.error(&self.url, what));
        }
        let prefix = self.prefix.as_ref().map_or("portcullis", |prefix| prefix.get_ref());
        let is_prefix = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if let Some(given) = &self.prefix
            && (prefix.is_empty() || prefix.len() > 32 || !prefix.chars().all(is_prefix))
        {
            let what = "prefix: expected 1 to 32 of the characters a-z, A-Z, 0-9, - and _";
            return Err(source.error(given, what));
        }
        let ack_wait = Unit::Milliseconds.given("ack-wait", &self.ack_wait, 1_000..=3_600_000, source)?;
        let attempts = Unit::None.given("attempts", &self.attempts, 1..=1_000, source)?.unwrap_or(10);
        let max_bytes = Unit::Bytes.given("max-bytes", &self.max_bytes, 16 * MIB..=65_536 * GIB, source)?;
        let replicas = Unit::None.given("replicas", &self.replicas, 1..=5, source)?.unwrap_or(1);
        Ok(JetStreamSettings {
            url: self.url.get_ref().clone(),
            credentials_file: self.credentials_file.as_ref().map(path),
            token_file: self.token_file.as_ref().map(path),
            ca: self.ca.as_ref().map(path),
            prefix: prefix.to_owned(),
            ingest: self.ingest.unwrap_or(true),
            work: self.work.unwrap_or(true),
            rules: self.rules.unwrap_or(false),
            ack_wait: Duration::from_millis(ack_wait.unwrap_or(30_000)),
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            max_bytes: max_bytes.unwrap_or(8 * GIB),
            replicas: usize::try_from(replicas).unwrap_or(1),
        })
    }
}
