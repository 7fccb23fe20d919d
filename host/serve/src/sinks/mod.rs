//! The sinks: places that take alerts. Each takes an alert once, however often its record comes.

mod file;
mod jetstream;
mod webhook;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;

use crate::delivery::SinkAlert;
use crate::jetstream::JetStream;
use crate::settings::{SinkKind, SinkSettings};
use crate::storage::{AppendLog, NotWritten};

/// A place that takes alerts, each once.
pub(crate) trait Sink: Send + Sync {
    /// Takes alerts. On success, the sink has them safely.
    fn put<'a>(&'a self, alerts: &'a [SinkAlert]) -> BoxFuture<'a, Result<(), NotWritten>>;

    /// Returns its health.
    fn health(&self) -> Health;

    /// Opens its file again, after a rotation.
    fn reopen(&self) {}

    /// Stops what it does in the background.
    fn close(&self) {}
}

/// How a sink is.
#[derive(Default)]
pub(crate) struct Health {
    /// Why it takes no alerts now, if it does not.
    pub(crate) refuses: Option<String>,
    /// Why the alerts that it has taken go no further, if they do not.
    pub(crate) stuck: Option<String>,
    /// Bytes of alerts that wait on the disk.
    pub(crate) waiting: u64,
}

/// All sinks of a service.
pub(crate) struct Sinks(Vec<Named>);

struct Named {
    settings: SinkSettings,
    sink: Box<dyn Sink>,
}

/// How a sink is, as the page and the metrics show it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SinkState {
    pub(crate) name: String,
    pub(crate) r#type: &'static str,
    /// Whether it has passed on what it was given last.
    pub(crate) ok: bool,
    /// Whether it takes alerts now, if only to let them wait.
    #[serde(skip)]
    pub(crate) takes: bool,
    /// Bytes that wait.
    pub(crate) waiting: u64,
    pub(crate) reason: Option<String>,
}

impl Sinks {
    /// Opens the sinks. `jetstream` must be there if a sink is of that kind.
    pub(crate) fn open(
        sinks: &[SinkSettings],
        data: &Path,
        tenants: &[Arc<str>],
        dead_letters: &AppendLog,
        jetstream: Option<&Arc<JetStream>>,
    ) -> anyhow::Result<Self> {
        let open = |settings: &SinkSettings| -> anyhow::Result<Named> {
            let (name, ocsf) = (&settings.name, settings.ocsf);
            let sink: Box<dyn Sink> = match &settings.kind {
                SinkKind::File(path) => {
                    let log = AppendLog::open(path).with_context(|| format!("{}: cannot be opened", path.display()))?;
                    Box::new(file::FileSink { log, ocsf })
                }
                SinkKind::Stdout => Box::new(file::FileSink { log: AppendLog::standard_output()?, ocsf }),
                SinkKind::JetStream => {
                    let jetstream = Arc::clone(jetstream.context("there is no JetStream")?);
                    Box::new(jetstream::JetStreamSink { jetstream, tenants: tenants.into(), ocsf })
                }
                SinkKind::Webhook(webhook) => {
                    let folder = data.join(format!("{name}.spool"));
                    let dead_letters = dead_letters.clone();
                    Box::new(webhook::WebhookSink::start(name, ocsf, webhook, &folder, dead_letters)?)
                }
            };
            Ok(Named { settings: settings.clone(), sink })
        };
        let opened = sinks.iter().map(|sink| open(sink).with_context(|| format!("sink {}", sink.name)));
        Ok(Self(opened.collect::<anyhow::Result<_>>()?))
    }

    /// Returns whether a sink takes OCSF findings.
    pub(crate) fn want_ocsf(&self) -> bool {
        self.0.iter().any(|sink| sink.settings.ocsf)
    }

    /// Gives alerts to all sinks.
    ///
    /// # Errors
    /// A sink did not take them; others may have. Given again, each alert is there once.
    pub(crate) async fn put(&self, alerts: &[SinkAlert]) -> Result<(), NotWritten> {
        if alerts.is_empty() {
            return Ok(());
        }
        let puts = self.0.iter().map(async |Named { settings, sink }| {
            sink.put(alerts).await.map_err(|NotWritten(why)| NotWritten(format!("sink {}: {why}", settings.name)))
        });
        join_all(puts).await.into_iter().collect()
    }

    /// Returns the state of each sink.
    pub(crate) fn states(&self) -> Vec<SinkState> {
        let state = |Named { settings, sink }: &Named| {
            let Health { refuses, stuck, waiting } = sink.health();
            SinkState {
                name: settings.name.clone(),
                r#type: settings.kind.as_str(),
                ok: refuses.is_none() && stuck.is_none(),
                takes: refuses.is_none(),
                waiting,
                reason: refuses.or(stuck),
            }
        };
        self.0.iter().map(state).collect()
    }

    /// Opens the files of all sinks again.
    pub(crate) fn reopen(&self) {
        self.0.iter().for_each(|sink| sink.sink.reopen());
    }

    /// Stops what all sinks do in the background.
    pub(crate) fn close(&self) {
        self.0.iter().for_each(|sink| sink.sink.close());
    }
}
