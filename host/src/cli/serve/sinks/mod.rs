//! Where alerts go, however many places that is. Each takes an alert once, however often it is brought.

mod spool;
mod webhook;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::future::join_all;
use portcullis::config::{self, SinkKind};
use serde::Serialize;

use super::jetstream::JetStream;
use super::journal::{Journal, Line};
use super::recent::Id;

pub(super) use super::journal::NotWritten;

/// An alert on its way.
pub(super) struct Alerted {
    pub(super) id: Id,
    /// Whose it is.
    pub(super) tenant: usize,
    /// As a line of JSON.
    pub(super) ndjson: Arc<str>,
    /// As a finding, where some sink wants it so.
    pub(super) ocsf: Option<Arc<str>>,
}

/// All of them.
pub(super) struct Sinks(Vec<Sink>);

struct Sink {
    name: String,
    word: &'static str,
    ocsf: bool,
    way: Way,
}

enum Way {
    Journal(Journal),
    Webhook(webhook::AtWork),
    JetStream(Arc<JetStream>),
}

/// How a sink is.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SinkState {
    pub(super) name: String,
    pub(super) r#type: &'static str,
    /// Whether it has taken what it was given last.
    pub(super) ok: bool,
    /// Whether it takes alerts now, also to let them wait.
    #[serde(skip)]
    pub(super) takes: bool,
    /// The bytes that wait for it.
    pub(super) waiting: u64,
    pub(super) reason: Option<String>,
}

impl Sinks {
    /// Opens them. Where one of them is `JetStream`, it is there.
    pub(super) fn open(
        sinks: &[config::Sink],
        data: &Path,
        dead_letters: &Journal,
        jetstream: Option<&Arc<JetStream>>,
    ) -> anyhow::Result<Self> {
        let open = |sink: &config::Sink| -> anyhow::Result<Sink> {
            let way = match &sink.kind {
                SinkKind::File(path) => {
                    let journal = Journal::open(path);
                    Way::Journal(journal.with_context(|| format!("{}: cannot be opened", path.display()))?)
                }
                SinkKind::Stdout => Way::Journal(Journal::standard_output()?),
                SinkKind::JetStream => Way::JetStream(Arc::clone(jetstream.context("there is no JetStream")?)),
                SinkKind::Webhook(webhook) => {
                    let folder = data.join(format!("{}.spool", sink.name));
                    Way::Webhook(webhook::AtWork::start(&sink.name, webhook, &folder, dead_letters.clone())?)
                }
            };
            Ok(Sink { name: sink.name.clone(), word: sink.kind.word(), ocsf: sink.ocsf, way })
        };
        let opened = sinks.iter().map(|sink| open(sink).with_context(|| format!("sink {}", sink.name)));
        Ok(Self(opened.collect::<anyhow::Result<_>>()?))
    }

    /// Whether one of them wants findings.
    pub(super) fn want_ocsf(&self) -> bool {
        self.0.iter().any(|sink| sink.ocsf)
    }

    /// Gives alerts to all of them. When this is answered, each has them on the disk, or wherever it is.
    ///
    /// # Errors
    /// One has not taken them, and which. The others may have; brought again, they are there once.
    pub(super) async fn put(&self, tenants: &[Arc<str>], alerts: &[Alerted]) -> Result<(), NotWritten> {
        if alerts.is_empty() {
            return Ok(());
        }
        let puts = self.0.iter().map(async |sink| {
            let text = |alert: &Alerted| match (&alert.ocsf, sink.ocsf) {
                (Some(finding), true) => Arc::clone(finding),
                _ => Arc::clone(&alert.ndjson),
            };
            let texts = alerts.iter().map(|alert| (alert.id, text(alert)));
            let put = match &sink.way {
                Way::Journal(journal) => journal.append(texts.map(|(id, text)| Line::Once(id, text)).collect()).await,
                Way::Webhook(webhook) => webhook.put(texts.collect()).await,
                Way::JetStream(jetstream) => {
                    let alerts: Vec<_> = alerts.iter().map(|alert| (alert, text(alert))).collect();
                    jetstream.put(tenants, &alerts).await
                }
            };
            put.map_err(|NotWritten(why)| NotWritten(format!("sink {}: {why}", sink.name)))
        });
        join_all(puts).await.into_iter().collect()
    }

    pub(super) fn states(&self) -> Vec<SinkState> {
        let state = |sink: &Sink| {
            let (full, wrong, waiting) = match &sink.way {
                Way::Journal(journal) => (journal.wrong(), None, 0),
                Way::Webhook(webhook) => (webhook.full(), webhook.wrong(), webhook.waiting()),
                Way::JetStream(jetstream) => (jetstream.wrong(), None, 0),
            };
            SinkState {
                name: sink.name.clone(),
                r#type: sink.word,
                ok: full.is_none() && wrong.is_none(),
                takes: full.is_none(),
                waiting,
                reason: full.or(wrong),
            }
        };
        self.0.iter().map(state).collect()
    }

    /// Has files opened anew.
    pub(super) fn reopen(&self) {
        for sink in &self.0 {
            if let Way::Journal(journal) = &sink.way {
                journal.reopen();
            }
        }
    }

    /// Ends what works behind them.
    pub(super) fn close(&self) {
        for sink in &self.0 {
            if let Way::Webhook(webhook) = &sink.way {
                webhook.close();
            }
        }
    }
}
