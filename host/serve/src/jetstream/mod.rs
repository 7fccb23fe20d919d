//! What carries batches and alerts from machine to machine: NATS `JetStream`, in which each of them has a stream.
//!
//! | stream | subjects | what it holds |
//! |---|---|---|
//! | `<prefix>-records` | `<prefix>.records`, `<prefix>.records.>` | batches, until one replica has judged them |
//! | `<prefix>-alerts` | `<prefix>.alerts.<tenant>.<alert_id>` | alerts, each once |
//! | `<prefix>-dead` | `<prefix>.dead` | batches that cannot be judged, each with the reason |
//!
//! Batches too large for a message lie in the object store `<prefix>-batches`, and a message says which.

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

use crate::delivery::SinkAlert;
use crate::http_client::read_line;
use crate::settings::JetStreamSettings;
use crate::storage::NotWritten;

/// For so long the server knows a batch again that is brought a second time. An API server has given it up by then.
const KNOWN: Duration = Duration::from_mins(10);

/// For so long an object outlives a batch that nobody has judged, or whose judge died before it could remove it.
const OBJECTS: Duration = Duration::from_hours(30 * 24);

/// How often it is looked whether all streams are there: somebody may have removed one.
pub(crate) const LOOK: Duration = Duration::from_secs(5);

/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// So many messages are on their way to the server at a time.
const AT_ONCE: usize = 256;

/// What messages say of themselves, besides what they hold.
pub(crate) mod header {
    /// Whose the records are. Without it, whose claim holds.
    pub(crate) const TENANT: &str = "Portcullis-Tenant";
    /// Who brought them.
    pub(crate) const CLIENT: &str = "Portcullis-Client";
    /// The batch's id.
    pub(crate) const BATCH: &str = "Portcullis-Batch";
    /// The object that holds them, where the message does not.
    pub(crate) const OBJECT: &str = "Portcullis-Object";
    /// Why it is a dead letter.
    pub(crate) const REASON: &str = "Portcullis-Reason";
}

/// A connection, which makes itself anew when it is lost.
pub(crate) struct JetStream {
    client: Client,
    context: Context,
    pub(crate) settings: JetStreamSettings,
    /// Why the streams cannot be used, as it was seen last.
    wrong: Mutex<Logged>,
}

impl JetStream {
    /// Begins to connect. A server that is not there is waited for.
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
            wrong: Mutex::new(Logged(Some("it has not been reached yet".to_owned()))),
        });
        let keeping = Arc::downgrade(&jetstream);
        tokio::spawn(async move {
            while let Some(jetstream) = keeping.upgrade() {
                let made = jetstream.make_streams().await;
                let is_made = made.is_ok();
                let wrong = made.err().map(|error| format!("{error:#}"));
                jetstream.lock().set(wrong);
                drop(jetstream);
                tokio::time::sleep(if is_made { LOOK } else { Duration::from_millis(500) }).await;
            }
        });
        Ok(jetstream)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Logged> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it cannot be used now.
    pub(crate) fn wrong(&self) -> Option<String> {
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

    /// Makes what is not there. What is there stays as whoever made it wants it.
    async fn make_streams(&self) -> anyhow::Result<()> {
        let base = |of: &str, subjects: Vec<String>| stream::Config {
            name: self.name(of),
            subjects,
            num_replicas: self.settings.replicas,
            duplicate_window: KNOWN,
            // What is full refuses, and forgets nothing.
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

    /// Where batches lie that are too large for a message.
    async fn objects(&self) -> anyhow::Result<ObjectStore> {
        self.object_store("batches", OBJECTS).await
    }

    /// An object store, whose objects go after so long; with no time, never.
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

    /// Publishes a message; when this is answered, the server has it on its disk. Whether it was new.
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

    /// Stores alerts, each once: the server recognizes the id of an alert that was stored lately, and the subject of an alert
    /// takes one message, however much time has passed.
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

/// A problem of the server that is logged once for as long as it stays the same.
#[derive(Default)]
pub(crate) struct Logged(Option<String>);

impl Logged {
    /// Logs a problem, unless it is the one that was logged last; without a problem, forgets it.
    pub(crate) fn set(&mut self, wrong: Option<String>) {
        if let Some(wrong) = wrong.as_ref().filter(|wrong| self.0.as_ref() != Some(wrong)) {
            tracing::warn!("jetstream: {wrong}");
        }
        self.0 = wrong;
    }
}

/// A name as one token of a subject: no two names are one, and none is several.
pub(crate) fn token(name: &str) -> String {
    name.replace('.', "=2E")
}
