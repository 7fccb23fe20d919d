//! `[[serve.sinks]]`: where alerts go.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::names::Names;
use super::quantity::{GIB, Given, MIB, Unit};
use super::{Config, ConfigError};

/// Where alerts go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Its name, which stands in figures and names its files.
    pub name: String,
    /// Whether alerts are OCSF Detection Findings.
    pub ocsf: bool,
    /// What it is.
    pub kind: SinkKind,
}

/// What takes alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// A file, a line an alert.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// Somebody's HTTP endpoint.
    Webhook(Webhook),
    /// The stream of alerts in `[serve.jetstream]`.
    JetStream,
}

impl SinkKind {
    const WORDS: [&str; 4] = ["file", "stdout", "webhook", "jetstream"];

    /// The word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Stdout => "stdout",
            Self::Webhook(_) => "webhook",
            Self::JetStream => "jetstream",
        }
    }
}

/// An HTTP endpoint that alerts are posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where.
    pub url: String,
    /// A file with the value of the header `Authorization`.
    pub authorization_file: Option<PathBuf>,
    /// A file with the certificates to trust, in PEM; else the system's.
    pub ca: Option<PathBuf>,
    /// The most bytes that wait for the endpoint.
    pub spool: u64,
    /// How many alerts go into one request, at the most.
    pub batch: usize,
    /// How long an alert is tried before it becomes a dead letter.
    pub give_up: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct SinkTable {
    name: Spanned<String>,
    r#type: Spanned<String>,
    format: Option<Spanned<String>>,
    path: Option<Spanned<PathBuf>>,
    url: Option<Spanned<String>>,
    authorization_file: Option<Spanned<PathBuf>>,
    ca: Option<Spanned<PathBuf>>,
    spool: Given,
    batch: Given,
    give_up: Given,
}

impl Config {
    pub(super) fn sinks(
        &self,
        tables: &[SinkTable],
        has_jetstream: bool,
        data: &Path,
    ) -> Result<Vec<Sink>, ConfigError> {
        if tables.is_empty() {
            let kind = SinkKind::File(data.join("alerts.ndjson"));
            return Ok(vec![Sink { name: "alerts".to_owned(), ocsf: false, kind }]);
        }
        let mut names = Names::new();
        tables.iter().map(|sink| self.sink(sink, has_jetstream, data, &mut names)).collect()
    }

    fn sink<'t>(
        &self,
        sink: &'t SinkTable,
        has_jetstream: bool,
        data: &Path,
        names: &mut Names<'t>,
    ) -> Result<Sink, ConfigError> {
        let wrong = |span, what| self.error_at(span, what);
        let name = self.new_name("sinks", &sink.name, names)?;
        let ocsf = match &sink.format {
            None => false,
            Some(format) => match &**format.get_ref() {
                "ndjson" => false,
                "ocsf" => true,
                other => {
                    return Err(self.error(format, format!("format: {other:?}: expected \"ndjson\" or \"ocsf\"")));
                }
            },
        };
        let kind = match &**sink.r#type.get_ref() {
            "file" => {
                let path = sink.path.as_ref().map(|path| data.join(path.get_ref()));
                SinkKind::File(path.unwrap_or_else(|| data.join(format!("{name}.ndjson"))))
            }
            "stdout" => SinkKind::Stdout,
            "jetstream" if !has_jetstream => {
                let what = "type: \"jetstream\" needs a table [serve.jetstream], which says where it is";
                return Err(self.error(&sink.r#type, what.to_owned()));
            }
            "jetstream" => SinkKind::JetStream,
            "webhook" => {
                let is_url = |url: &&Spanned<String>| {
                    let parsed = url.get_ref().parse::<ureq::http::Uri>().ok();
                    parsed.is_some_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
                };
                let url = sink.url.as_ref().filter(is_url).ok_or_else(|| {
                    let span = sink.url.as_ref().map_or_else(|| sink.name.span(), Spanned::span);
                    wrong(span, format!("url: expected where {name} is, beginning with https:// or http://"))
                })?;
                let path = |path: &Spanned<PathBuf>| self.folder().join(path.get_ref());
                let spool = Unit::Bytes.given("spool", &sink.spool, MIB..=64 * GIB, &wrong)?.unwrap_or(256 * MIB);
                let batch = Unit::None.given("batch", &sink.batch, 1..=10_000, &wrong)?.unwrap_or(1);
                let give_up = Unit::Milliseconds.given("give-up", &sink.give_up, 1..=604_800_000, &wrong)?;
                SinkKind::Webhook(Webhook {
                    url: url.get_ref().clone(),
                    authorization_file: sink.authorization_file.as_ref().map(path),
                    ca: sink.ca.as_ref().map(path),
                    spool,
                    batch: usize::try_from(batch).unwrap_or(1),
                    give_up: Duration::from_millis(give_up.unwrap_or(3_600_000)),
                })
            }
            other => {
                let words = SinkKind::WORDS.map(|word| format!("{word:?}")).join(", ");
                return Err(self.error(&sink.r#type, format!("type: {other:?}: expected one of {words}")));
            }
        };
        let of_webhook = [
            ("url", sink.url.as_ref().map(Spanned::span)),
            ("authorization-file", sink.authorization_file.as_ref().map(Spanned::span)),
            ("ca", sink.ca.as_ref().map(Spanned::span)),
            ("spool", sink.spool.as_ref().map(Spanned::span)),
            ("batch", sink.batch.as_ref().map(Spanned::span)),
            ("give-up", sink.give_up.as_ref().map(Spanned::span)),
        ];
        let strange = match kind {
            SinkKind::Webhook(_) => sink.path.as_ref().map(|path| ("path", path.span())),
            SinkKind::File(_) => of_webhook.into_iter().find_map(|(key, span)| Some((key, span?))),
            SinkKind::Stdout | SinkKind::JetStream => {
                let path = ("path", sink.path.as_ref().map(Spanned::span));
                of_webhook.into_iter().chain([path]).find_map(|(key, span)| Some((key, span?)))
            }
        };
        match strange {
            Some((key, span)) => Err(wrong(span, format!("{key}: a sink of type {:?} has none", kind.word()))),
            None => Ok(Sink { name: name.to_owned(), ocsf, kind }),
        }
    }
}
