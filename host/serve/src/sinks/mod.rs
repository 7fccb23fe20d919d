//! The sinks of alerts. Each takes an alert once, even if its record comes several times.

mod file;
mod jetstream;
pub(crate) mod webhook;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;

use crate::jetstream::JetStream;
use crate::machine::Machine;
use crate::settings::{SinkKind, SinkSettings, WebhookSettings};
use crate::sink_alert::SinkAlert;
use crate::storage::{AppendLog, NotWritten, Repeats};

/// A sink, which takes each alert once.
pub(crate) trait Sink: Send + Sync {
    /// Takes alerts. On success, they are safe.
    fn put<'a>(&'a self, alerts: &'a [SinkAlert]) -> BoxFuture<'a, Result<(), NotWritten>>;

    /// Returns the number of bytes of a tenant's alerts that it can take now.
    fn room(&self, _tenant: usize) -> u64 {
        u64::MAX
    }

    /// Returns why it takes no alerts of a tenant now although it takes those of others, if so.
    fn refuses(&self, _tenant: usize) -> Option<String> {
        None
    }

    /// Returns its health.
    fn health(&self) -> Health;

    /// Reopens its file, after a rotation.
    fn reopen(&self) {}

    /// Stops its background work.
    fn close(&self) {}
}

/// The health of a sink.
#[derive(Default)]
pub(crate) struct Health {
    /// Why it takes no alerts now, if it does not.
    pub(crate) refuses: Option<String>,
    /// Why alerts that it has taken are not passed on, if they are not.
    pub(crate) stuck: Option<String>,
    /// The bytes of alerts that wait on the disk.
    pub(crate) waiting: u64,
}

/// Returns the endpoint of a webhook.
pub(crate) type OpenEndpoint<'o> = dyn Fn(&WebhookSettings) -> anyhow::Result<Box<dyn webhook::Endpoint>> + 'o;

/// Returns the HTTP endpoint of a webhook.
pub(crate) fn http_endpoint(webhook: &WebhookSettings) -> anyhow::Result<Box<dyn webhook::Endpoint>> {
    Ok(Box::new(webhook::endpoint::HttpEndpoint::new(webhook)?))
}

/// All sinks of a service. Clones are the same sinks.
#[derive(Clone)]
pub(crate) struct Sinks(Arc<[OpenSink]>);

struct OpenSink {
    settings: SinkSettings,
    sink: Box<dyn Sink>,
}

/// The state of a sink, as the page and the metrics show it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SinkState {
    pub(crate) name: String,
    pub(crate) r#type: &'static str,
    /// Whether it passed on the last alerts that it took.
    pub(crate) ok: bool,
    /// Whether it takes alerts now, even if they have to wait.
    #[serde(skip)]
    pub(crate) takes: bool,
    /// The bytes of alerts that wait on the disk.
    pub(crate) waiting: u64,
    pub(crate) reason: Option<String>,
}

impl Sinks {
    /// Opens the sinks. A sink of type `jetstream` needs `jetstream`.
    pub(crate) fn open(
        machine: &Arc<dyn Machine>,
        sinks: &[SinkSettings],
        data: &Path,
        tenants: &Arc<[Arc<str>]>,
        dead_letters: &AppendLog,
        jetstream: Option<&Arc<JetStream>>,
        endpoint: &OpenEndpoint<'_>,
    ) -> anyhow::Result<Self> {
        let open = |settings: &SinkSettings| -> anyhow::Result<OpenSink> {
            let (name, ocsf) = (&settings.name, settings.ocsf);
            let sink: Box<dyn Sink> = match &settings.kind {
                SinkKind::File(path) => {
                    let log = AppendLog::open(machine, path, Repeats::Alert);
                    let log = log.with_context(|| format!("{}: cannot be opened", path.display()))?;
                    Box::new(file::FileSink { log, ocsf })
                }
                SinkKind::Stdout => Box::new(file::FileSink { log: AppendLog::standard_output(machine)?, ocsf }),
                SinkKind::JetStream => {
                    let jetstream = Arc::clone(jetstream.context("needs a table [serve.jetstream]")?);
                    Box::new(jetstream::JetStreamSink { jetstream, tenants: Arc::clone(tenants), ocsf })
                }
                SinkKind::Webhook(webhook) => {
                    let folder = data.join(format!("{name}.spool"));
                    let endpoint = || endpoint(webhook);
                    let spooling = webhook::Spooling { folder, most: webhook.spool, give_up: webhook.give_up };
                    let start = webhook::Webhooks::start;
                    Box::new(start(machine, name, ocsf, &spooling, tenants, &endpoint, dead_letters)?)
                }
            };
            Ok(OpenSink { settings: settings.clone(), sink })
        };
        let opened = sinks.iter().map(|sink| open(sink).with_context(|| format!("sink {}", sink.name)));
        Ok(Self(opened.collect::<anyhow::Result<_>>()?))
    }

    /// Returns whether a sink takes OCSF findings.
    pub(crate) fn want_ocsf(&self) -> bool {
        self.0.iter().any(|sink| sink.settings.ocsf)
    }

    /// Returns the number of bytes of a tenant's alerts that all sinks can take now.
    pub(crate) fn room(&self, tenant: usize) -> u64 {
        self.0.iter().map(|sink| sink.sink.room(tenant)).min().unwrap_or(u64::MAX)
    }

    /// Returns why a sink takes no alerts of a tenant now although it takes those of others, if so.
    pub(crate) fn refuse(&self, tenant: usize) -> Option<String> {
        let refusal = |OpenSink { settings, sink }: &OpenSink| {
            sink.refuses(tenant).map(|reason| format!("sink {}: {reason}", settings.name))
        };
        self.0.iter().find_map(refusal)
    }

    /// Gives alerts to all sinks.
    ///
    /// # Errors
    /// A sink did not take them; others may have. If they are given again, each alert is there once.
    pub(crate) async fn put(&self, alerts: &[SinkAlert]) -> Result<(), NotWritten> {
        if alerts.is_empty() {
            return Ok(());
        }
        let puts = self.0.iter().map(async |OpenSink { settings, sink }| {
            sink.put(alerts).await.map_err(|NotWritten(why)| NotWritten(format!("sink {}: {why}", settings.name)))
        });
        join_all(puts).await.into_iter().collect()
    }

    /// Returns the state of each sink.
    pub(crate) fn states(&self) -> Vec<SinkState> {
        let state = |OpenSink { settings, sink }: &OpenSink| {
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

    /// Reopens the files of all sinks.
    pub(crate) fn reopen(&self) {
        self.0.iter().for_each(|sink| sink.sink.reopen());
    }

    /// Stops the background work of all sinks.
    pub(crate) fn close(&self) {
        self.0.iter().for_each(|sink| sink.sink.close());
    }
}
