//! Batches, alerts and packages at a NATS server with `JetStream`, which carries them between machines. Each has a stream
//! or a store of its own.
//!
//! | stream | subjects | what it holds |
//! |---|---|---|
//! | `<prefix>-records` | `<prefix>.records`, `<prefix>.records.>` | batches, until one replica has judged them |
//! | `<prefix>-alerts` | `<prefix>.alerts.<tenant>.<alert_id>` | alerts, each once |
//! | `<prefix>-dead` | `<prefix>.dead` | batches that cannot be judged, each with the reason |
//!
//! | store | what it holds |
//! |---|---|
//! | object store `<prefix>-batches` | batches that are too large for a message, which names the object |
//! | object store `<prefix>-packages` | `<tenant>/<RuleID>@<version>.wasm` |
//! | bucket `<prefix>-activation` | by tenant, the text that replaces the config's `[activation]` |
//! | bucket `<prefix>-replicas` | by replica, the rules that it runs; an entry expires when the replica is gone |
//! | bucket `<prefix>-attempts` | by batch, how often judging it began and did not end |
//! | bucket `<prefix>-leases` | the replica that does what one replica does at a time |

mod batches;
mod broker;
mod nats;
mod requests;
mod rules;

use std::sync::Arc;

use async_nats::header::{HeaderMap, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use bytes::Bytes;
use futures_util::future::try_join_all;

pub(crate) use batches::value;
pub(crate) use broker::{Answer, Broker, Entry, Message, ObjectState, StoredBatch};
#[cfg(test)]
pub(crate) use broker::{Bucket, Messages, Objects, Progress, Reply};
pub(crate) use nats::Nats;

use crate::settings::JetStreamSettings;
use crate::sink_alert::SinkAlert;
use crate::storage::NotWritten;

/// Maximum number of messages that are published at once.
const AT_ONCE: usize = 256;

/// The headers of messages.
pub(crate) mod header {
    /// The tenant that owns the records. Without it, claims decide.
    pub(crate) const TENANT: &str = "Portcullis-Tenant";
    /// The client that sent them.
    pub(crate) const CLIENT: &str = "Portcullis-Client";
    /// The batch's id.
    pub(crate) const BATCH: &str = "Portcullis-Batch";
    /// The object with the batch, if the message does not contain it.
    pub(crate) const OBJECT: &str = "Portcullis-Object";
    /// Why it is a dead letter.
    pub(crate) const REASON: &str = "Portcullis-Reason";
}

/// The streams and stores of a service.
pub(crate) struct JetStream {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) settings: JetStreamSettings,
}

impl JetStream {
    /// Returns why the server cannot be used now, if it cannot.
    pub(crate) fn problem(&self) -> Option<String> {
        self.broker.problem()
    }

    pub(crate) fn name(&self, of: &str) -> String {
        format!("{}-{of}", self.settings.prefix)
    }

    fn subject(&self, of: &str) -> String {
        format!("{}.{of}", self.settings.prefix)
    }

    /// Stores each alert once. The server recognizes the id of a recent alert, and the subject of an alert accepts only
    /// one message, however much time has passed.
    pub(crate) async fn put_alerts(
        &self,
        tenants: &[Arc<str>],
        alerts: &[SinkAlert],
        ocsf: bool,
    ) -> Result<(), NotWritten> {
        for some in alerts.chunks(AT_ONCE) {
            try_join_all(some.iter().map(async |alert| {
                let id = alert.id.to_string();
                let subject = format!("{}.{}.{id}", self.subject("alerts"), token(&tenants[alert.tenant]));
                let mut headers = HeaderMap::new();
                headers.insert(NATS_MESSAGE_ID, &*id);
                headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
                let payload = Bytes::copy_from_slice(alert.text(ocsf).as_bytes());
                self.broker.publish(&subject, headers, payload).await
            }))
            .await?;
        }
        Ok(())
    }
}

/// A problem of the server. It is logged once while it stays the same.
#[derive(Default)]
pub(crate) struct CurrentProblem(Option<String>);

impl CurrentProblem {
    /// Sets the current problem, and logs it if it is new. `None` clears it.
    pub(crate) fn set(&mut self, problem: Option<String>) {
        if let Some(problem) = problem.as_ref().filter(|problem| self.0.as_ref() != Some(problem)) {
            tracing::warn!("jetstream: {problem}");
        }
        self.0 = problem;
    }
}

/// Returns a name as one token of a subject. Different names give different tokens.
pub(crate) fn token(name: &str) -> String {
    name.replace('.', "=2E")
}
