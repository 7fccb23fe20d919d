//! The connection to a NATS server.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use async_nats::jetstream::Context;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{ContextBuilder, CreateStreamError, CreateStreamErrorKind};
use async_nats::jetstream::kv;
use async_nats::jetstream::object_store::{self, ObjectStore};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, Stream};
use async_nats::{Client, ConnectOptions};

use super::CurrentProblem;
use super::broker::{Bucket, Objects};
use crate::http_client::read_line;
use crate::settings::JetStreamSettings;

/// How long the server recognizes a repeated batch. After this time, an API server has given the batch up.
const KNOWN: Duration = Duration::from_mins(10);

/// Maximum age of an object. It removes objects whose batch was never judged, or whose replica died before it
/// removed them.
const OBJECTS: Duration = Duration::from_hours(30 * 24);

/// Maximum age of a replica's report.
const REPORT_AGE: Duration = Duration::from_secs(10);

/// Maximum age of a lease.
const LEASE_AGE: Duration = Duration::from_secs(30);

/// Maximum age of a count of attempts. It removes those of batches that are done.
const ATTEMPTS_AGE: Duration = Duration::from_hours(7 * 24);

/// The interval between checks that all streams exist, because an operator may remove one.
const LOOK: Duration = Duration::from_secs(5);

/// Maximum time for an answer of the server.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// The durable consumer that all replicas share.
const CONSUMER: &str = "judges";

/// A connection to the server, which reconnects when it is lost.
pub(crate) struct Nats {
    pub(super) client: Client,
    pub(super) context: Context,
    pub(super) settings: JetStreamSettings,
    /// The consumer, once it was there.
    consumer: Mutex<Option<PullConsumer>>,
    /// The last known problem with the streams.
    pub(super) problem: Mutex<CurrentProblem>,
}

impl Nats {
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
        let context = ContextBuilder::new().timeout(ANSWER).ack_timeout(ANSWER);
        let nats = Arc::new(Self {
            context: context.build(client.clone()),
            client,
            settings: settings.clone(),
            consumer: Mutex::default(),
            problem: Mutex::new(CurrentProblem(Some("not connected yet".to_owned()))),
        });
        let keeping = Arc::downgrade(&nats);
        tokio::spawn(async move {
            while let Some(nats) = keeping.upgrade() {
                let made = nats.make_streams().await;
                let is_made = made.is_ok();
                let problem = made.err().map(|error| format!("{error:#}"));
                nats.problem.lock().unwrap_or_else(PoisonError::into_inner).set(problem);
                drop(nats);
                tokio::time::sleep(if is_made { LOOK } else { Duration::from_millis(500) }).await;
            }
        });
        Ok(nats)
    }

    pub(super) fn name(&self, of: &str) -> String {
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
            let made = self.context.get_or_create_stream(config).await;
            let is_too_large = |error: &CreateStreamError| {
                matches!(error.kind(), CreateStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STORAGE_RESOURCES_EXCEEDED)
            };
            let what_to_do = if made.as_ref().is_err_and(is_too_large) {
                "; lower max-bytes in the table [serve.jetstream], or let the server use more of its disk (max_file_store)"
            } else {
                ""
            };
            made.map_err(|error| anyhow!("stream {name}: {error}{what_to_do}"))?;
        }
        self.store(Objects::Batches).await.map(drop)
    }

    pub(super) async fn batches(&self) -> anyhow::Result<Stream> {
        self.context.get_stream(self.name("records")).await.map_err(|error| anyhow!(error))
    }

    /// Returns the consumer that all replicas share. [`Nats::progress`] forgets it if the server has lost it.
    pub(super) async fn consumer(&self) -> anyhow::Result<PullConsumer> {
        if let Some(consumer) = self.consumer.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(consumer);
        }
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.settings.ack_wait,
            // After `attempts`, a replica makes the batch a dead letter.
            max_deliver: -1,
            // Batches that wait for a tenant's rules are pending too, and must not hold up others.
            max_ack_pending: -1,
            ..pull::Config::default()
        };
        // Changes a consumer that is there already, too.
        let consumer = self.batches().await?.create_consumer(config).await;
        let consumer = consumer.map_err(|error| anyhow!(error))?;
        *self.consumer.lock().unwrap_or_else(PoisonError::into_inner) = Some(consumer.clone());
        Ok(consumer)
    }

    pub(super) fn forget_consumer(&self) {
        *self.consumer.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) async fn store(&self, objects: Objects) -> anyhow::Result<ObjectStore> {
        let (of, max_age) = match objects {
            Objects::Batches => ("batches", OBJECTS),
            Objects::Packages => ("packages", Duration::ZERO),
        };
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

    pub(super) async fn bucket(&self, bucket: Bucket) -> anyhow::Result<kv::Store> {
        let (of, max_age) = match bucket {
            Bucket::Activation => ("activation", Duration::ZERO),
            Bucket::Replicas => ("replicas", REPORT_AGE),
            Bucket::Attempts => ("attempts", ATTEMPTS_AGE),
            Bucket::Leases => ("leases", LEASE_AGE),
        };
        let bucket = self.name(of);
        if let Ok(store) = self.context.get_key_value(&bucket).await {
            return Ok(store);
        }
        // Creates the stream of a bucket directly (ADR-8 of NATS), because the library needs an answer that a server of
        // 2.9 does not give.
        let config = stream::Config {
            name: format!("KV_{bucket}"),
            subjects: vec![format!("$KV.{bucket}.>")],
            max_messages_per_subject: 1,
            max_age,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            discard: DiscardPolicy::New,
            num_replicas: self.settings.replicas,
            ..stream::Config::default()
        };
        self.context.get_or_create_stream(config).await.with_context(|| format!("bucket {bucket}"))?;
        self.context.get_key_value(&bucket).await.with_context(|| format!("bucket {bucket}"))
    }
}
