//! `[[serve.sinks]]`: the sinks of alerts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_serve::settings::{SinkKind, SinkSettings, WebhookSettings, is_http_url};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names::{Names, new_name};
use super::quantity::{GIB, Given, MIB, Unit};
use super::source::{ConfigError, Source};

/// A sink by its `type`, which [`tag`] has made the key of a table.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SinkTable {
    File(FileTable),
    Stdout(PlainTable),
    Webhook(Box<WebhookTable>),
    JetStream(PlainTable),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlainTable {
    name: Spanned<String>,
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileTable {
    name: Spanned<String>,
    #[serde(default)]
    format: Format,
    path: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WebhookTable {
    name: Spanned<String>,
    #[serde(default)]
    format: Format,
    url: Spanned<String>,
    authorization_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    spool: Given,
    alerts_per_request: Given,
    give_up: Given,
}

/// The format in which a sink takes alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Ndjson,
    Ocsf,
}

/// Makes the `type` of each sink the key of a table around its other keys. Serde reads that as an enum and keeps the
/// spans of values; an internally tagged enum would lose them.
pub(super) fn tag(document: &mut DeTable<'_>) {
    let Some(DeValue::Table(serve)) = document.get_mut("serve").map(Spanned::get_mut) else { return };
    let Some(DeValue::Array(sinks)) = serve.get_mut("sinks").map(Spanned::get_mut) else { return };
    for sink in sinks.as_mut() {
        let span = sink.span();
        let DeValue::Table(table) = sink.get_mut() else { continue };
        let Some((_, kind)) = table.remove_entry("type") else { continue };
        let kind_span = kind.span();
        let DeValue::String(kind) = kind.into_inner() else { continue };
        let rest = Spanned::new(span, DeValue::Table(std::mem::take(table)));
        table.insert(Spanned::new(kind_span, kind), rest);
    }
}

/// Returns the settings of all sinks. Without sinks, alerts go to the file `alerts.ndjson`.
pub(super) fn sinks(
    tables: &[SinkTable],
    source: &Source,
    has_jetstream: bool,
    data: &Path,
) -> Result<Vec<SinkSettings>, ConfigError> {
    if tables.is_empty() {
        let kind = SinkKind::File(data.join("alerts.ndjson"));
        return Ok(vec![SinkSettings { name: "alerts".to_owned(), ocsf: false, kind }]);
    }
    let mut names = Names::new();
    tables
        .iter()
        .map(|table| {
            let (name, format) = table.name_and_format();
            let name = new_name(source, "sinks", name, &mut names)?;
            let kind = table.kind(source, name, has_jetstream, data)?;
            Ok(SinkSettings { name: name.to_owned(), ocsf: format == Format::Ocsf, kind })
        })
        .collect()
}

impl SinkTable {
    fn name_and_format(&self) -> (&Spanned<String>, Format) {
        match self {
            Self::File(FileTable { name, format, .. })
            | Self::Stdout(PlainTable { name, format })
            | Self::JetStream(PlainTable { name, format }) => (name, *format),
            Self::Webhook(table) => (&table.name, table.format),
        }
    }

    fn kind(&self, source: &Source, name: &str, has_jetstream: bool, data: &Path) -> Result<SinkKind, ConfigError> {
        Ok(match self {
            Self::File(FileTable { path, .. }) => {
                SinkKind::File(data.join(path.clone().unwrap_or_else(|| format!("{name}.ndjson").into())))
            }
            Self::Stdout(_) => SinkKind::Stdout,
            Self::JetStream(_) if has_jetstream => SinkKind::JetStream,
            Self::JetStream(PlainTable { name, .. }) => {
                let what = "type: \"jetstream\" needs a table [serve.jetstream] with the URL of the server";
                return Err(source.error(name, what));
            }
            Self::Webhook(table) => SinkKind::Webhook(table.settings(source, name)?),
        })
    }
}

impl WebhookTable {
    fn settings(&self, source: &Source, name: &str) -> Result<WebhookSettings, ConfigError> {
        let url = self.url.get_ref();
        if !is_http_url(url) {
            let what = format!("url: expected the URL of {name}, beginning with https:// or http://");
            return Err(source.error(&self.url, what));
        }
        let authority = url.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(""));
        if authority.contains('@') {
            let what = "url: expected no user or password, which would not be sent; use authorization-file";
            return Err(source.error(&self.url, what));
        }
        let path = |path: &PathBuf| source.path(path);
        let spool = Unit::Bytes.given("spool", &self.spool, MIB..=64 * GIB, source)?.unwrap_or(256 * MIB);
        let alerts = Unit::None.given("alerts-per-request", &self.alerts_per_request, 1..=10_000, source)?.unwrap_or(1);
        let give_up = Unit::Milliseconds.given("give-up", &self.give_up, 1..=604_800_000, source)?;
        Ok(WebhookSettings {
            url: url.clone(),
            authorization_file: self.authorization_file.as_ref().map(path),
            ca: self.ca.as_ref().map(path),
            spool,
            alerts_per_request: usize::try_from(alerts).unwrap_or(1),
            give_up: Duration::from_millis(give_up.unwrap_or(3_600_000)),
        })
    }
}
