//! The connection to NATS `JetStream`, which carries batches and alerts between machines. Each has a stream of its own.
//!
//! | stream | subjects | what it holds |
//! |---|---|---|
//! | `<prefix>-records` | `<prefix>.records`, `<prefix>.records.>` | batches, until one replica has judged them |
//! | `<prefix>-alerts` | `<prefix>.alerts.<tenant>.<alert_id>` | alerts, each once |
//! | `<prefix>-dead` | `<prefix>.dead` | batches that cannot be judged, each with the reason |
//!
//! Batches that are too large for a message are in the object store `<prefix>-batches`, and a message names the object.

mod batches;
mod rules;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use async_nats::connection::State;
use async_nats::header::{HeaderMap, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::object_store::{self, ObjectStore};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy};
use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use futures_util::future::try_join_all;

pub(crate) use batches::value;

use crate::http_client::read_line;
use crate::settings::JetStreamSettings;
use crate::sink_alert::SinkAlert;
use crate::storage::NotWritten;

/// How long the server recognizes a repeated batch. After this time, an API server has given the batch up.
const KNOWN: Duration = Duration::from_mins(10);

/// Maximum age of an object. It removes objects whose batch was never judged, or whose replica died before it
/// removed them.
const OBJECTS: Duration = Duration::from_hours(30 * 24);

/// The interval between checks that all streams exist, because an operator may remove one.
pub(crate) const LOOK: Duration = Duration::from_secs(5);

/// Maximum time for an answer of the server.
const ANSWER: Duration = Duration::from_secs(5);

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

/// A connection to the server, which reconnects when it is lost.
pub(crate) struct JetStream {
    client: Client,
    context: Context,
    pub(crate) settings: JetStreamSettings,
    /// The last known problem with the streams.
    problem: Mutex<CurrentProblem>,
}

impl JetStream {
    /// Starts to connect, and keeps trying while the server is not there.
    pub(crate) async fn connect(settings: &JetStreamSettings, replica: &str) -> anyhow::Result<Arc<Self>> {
        let mut options = ConnectOptions::new()
            .name(format!("portcullis {replica}"))
            .retry_on_initial_connect()
            .reconnect_delay_callback(|tries| Duration::from_millis(100 << tries.min(5)))
            .event_callback(async |event| tracing::info!("jetstream: {event}"));
        if let Some(file) = &settings.credentials_file {
            let cannot = || format!("jetstream: credentials-file: {}: cannot be read", file.display());
            options = options.credentials_file(file).await.with_context(cannot)?;
        }
        if let Some(file) = &settings.token_file {
            options = options.token(read_line(file).context("jetstream: token-file")?);
        }
        if let Some(file) = &settings.ca {
            options = options.add_root_certificates(file.clone());
        }
        let urls: Vec<&str> = settings.url.split(',').map(str::trim).collect();
        let client = options.connect(urls).await.with_context(|| format!("jetstream: {}", settings.url))?;
        let context = async_nats::jetstream::context::ContextBuilder::new().timeout(ANSWER).ack_timeout(ANSWER);
        let jetstream = Arc::new(Self {
            context: context.build(client.clone()),
            client,
            settings: settings.clone(),
            problem: Mutex::new(CurrentProblem(Some("not connected yet".to_owned()))),
        });
        let keeping = Arc::downgrade(&jetstream);
        tokio::spawn(async move {
            while let Some(jetstream) = keeping.upgrade() {
                let made = jetstream.make_streams().await;
                let is_made = made.is_ok();
                let problem = made.err().map(|error| format!("{error:#}"));
                jetstream.lock().set(problem);
                drop(jetstream);
                tokio::time::sleep(if is_made { LOOK } else { Duration::from_millis(500) }).await;
            }
        });
        Ok(jetstream)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CurrentProblem> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns why the server cannot be used now, if it cannot.
    pub(crate) fn problem(&self) -> Option<String> {
        match self.client.connection_state() {
            State::Connected => self.lock().0.clone(),
            State::Pending | State::Disconnected => Some(format!("{} cannot be reached", self.settings.url)),
        }
    }

    pub(crate) fn name(&self, of: &str) -> String {
        format!("{}-{of}", self.settings.prefix)
    }

    fn subject(&self, of: &str) -> String {
        format!("{}.{of}", self.settings.prefix)
    }

    /// Creates missing streams. Existing ones keep their configuration.
    async fn make_streams(&self) -> anyhow::Result<()> {
        let base = |of: &str, subjects: Vec<String>| stream::Config {
            name: self.name(of),
            subjects,
            num_replicas: self.settings.replicas,
            duplicate_window: KNOWN,
            // A full stream refuses new messages and drops no old ones.
            discard: DiscardPolicy::New,
            ..stream::Config::default()
        };
        let records = stream::Config {
            retention: RetentionPolicy::WorkQueue,
            max_bytes: i64::try_from(self.settings.max_bytes).unwrap_or(i64::MAX),
            ..base("records", vec![self.subject("records"), self.subject("records.>")])
        };
        let alerts = base("alerts", vec![self.subject("alerts.>")]);
        let dead = base("dead", vec![self.subject("dead")]);
        for config in [records, alerts, dead] {
            let name = config.name.clone();
            self.context.get_or_create_stream(config).await.with_context(|| format!("stream {name}"))?;
        }
        self.objects().await.map(drop)
    }

    /// Returns the object store for batches that are too large for a message.
    async fn objects(&self) -> anyhow::Result<ObjectStore> {
        self.object_store("batches", OBJECTS).await
    }

    /// Returns an object store. Its objects expire after `max_age`, or never if that is zero.
    async fn object_store(&self, of: &str, max_age: Duration) -> anyhow::Result<ObjectStore> {
        let bucket = self.name(of);
        if let Ok(store) = self.context.get_object_store(&bucket).await {
            return Ok(store);
        }
        let config = object_store::Config {
            bucket: bucket.clone(),
            max_age,
            num_replicas: self.settings.replicas,
            ..object_store::Config::default()
        };
        self.context.create_object_store(config).await.with_context(|| format!("object store {bucket}"))
    }

    /// Publishes a message. On success the server has it on its disk. Returns whether it was new.
    async fn publish(&self, subject: String, headers: HeaderMap, payload: Bytes) -> Result<bool, NotWritten> {
        let not_written =
            |error: async_nats::jetstream::context::PublishError| NotWritten(format!("jetstream: {error}"));
        let is_only = headers.get(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE).is_some();
        let publishing = async { self.context.publish_with_headers(subject, headers, payload).await?.await };
        match publishing.await {
            Ok(acknowledged) => Ok(!acknowledged.duplicate),
            Err(error) if is_only && error.kind() == PublishErrorKind::WrongLastSequence => Ok(false),
            Err(error) => Err(not_written(error)),
        }
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
            try_join_all(some.iter().map(|alert| {
                let id = alert.id.to_string();
                let subject = format!("{}.{}.{id}", self.subject("alerts"), token(&tenants[alert.tenant]));
                let mut headers = HeaderMap::new();
                headers.insert(NATS_MESSAGE_ID, &*id);
                headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
                self.publish(subject, headers, Bytes::copy_from_slice(alert.text(ocsf).as_bytes()))
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
