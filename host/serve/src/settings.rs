//! The settings of a service, checked and with all paths resolved.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// How records come in, how much of them at once, and where alerts go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The folder of everything that outlives the process: dead letters, spools, history.
    pub data: PathBuf,
    /// TLS; without it the service speaks plain HTTP.
    pub tls: Option<Tls>,
    /// The most bytes of a batch, as sent and decompressed.
    pub max_body: u64,
    /// The most bytes of all batches that are being read or judged.
    pub in_flight: u64,
    /// The most connections.
    pub connections: usize,
    /// How long a request may take to come in.
    pub timeout: Duration,
    /// How long a termination waits for batches in flight.
    pub drain: Duration,
    /// The file with a line for each record.
    pub ledger: Option<PathBuf>,
    /// Who may do what.
    pub clients: Vec<ClientSettings>,
    /// Where alerts go.
    pub sinks: Vec<SinkSettings>,
    /// The NATS server that carries batches and alerts from replica to replica.
    pub jetstream: Option<JetStreamSettings>,
}

/// The files of TLS, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority that signs the certificates of clients.
    pub client_ca: Option<PathBuf>,
}

/// A client of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// The name, which is also the `input` of its records.
    pub name: String,
    /// The tenant of its records, and the only one that it may see. Without it, claims decide, and it may see everything.
    pub tenant: Option<String>,
    /// What it may do.
    pub roles: Vec<Role>,
    /// How it proves who it is.
    pub credential: Credential,
}

/// How a client proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The bearer token in this file.
    TokenFile(PathBuf),
    /// A certificate of the clients' authority with this common name, DNS name or URI.
    Certificate(String),
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Send records.
    Ingest,
    /// See metrics, rules and alerts.
    View,
    /// Publish packages, and choose versions.
    Publish,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Ingest, Self::View, Self::Publish];

    /// Returns its name in the config.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::View => "view",
            Self::Publish => "publish",
        }
    }
}

/// A place that takes alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSettings {
    /// The name, which is a label of metrics and part of file names.
    pub name: String,
    /// Whether alerts are written as OCSF Detection Findings.
    pub ocsf: bool,
    /// What it is.
    pub kind: SinkKind,
}

/// The kind of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// A file, one alert a line.
    File(PathBuf),
    /// Standard output, one alert a line.
    Stdout,
    /// An HTTP endpoint.
    Webhook(WebhookSettings),
    /// The stream of alerts at the server of [`JetStreamSettings`].
    JetStream,
}

impl SinkKind {
    /// Returns its name in the config.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
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
pub struct WebhookSettings {
    /// The URL.
    pub url: String,
    /// The file with the value of the header `Authorization`.
    pub authorization_file: Option<PathBuf>,
    /// The file with the certificates to trust, in PEM; without it, the system's.
    pub ca: Option<PathBuf>,
    /// The most bytes that wait for the endpoint on the disk.
    pub spool: u64,
    /// The most alerts in one request.
    pub alerts_per_request: usize,
    /// How long an alert is tried before it becomes a dead letter.
    pub give_up: Duration,
}

/// A NATS server with JetStream, and what it is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JetStreamSettings {
    /// Its addresses, separated by commas.
    pub url: String,
    /// The file of credentials, as `nsc` writes it.
    pub credentials_file: Option<PathBuf>,
    /// The file with a token.
    pub token_file: Option<PathBuf>,
    /// The file with the certificates to trust, in PEM; without it, the system's.
    pub ca: Option<PathBuf>,
    /// The beginning of the names of all streams, subjects and buckets.
    pub prefix: String,
    /// Whether batches that come over HTTP are stored in the stream instead of judged at once.
    pub ingest: bool,
    /// Whether this replica judges batches of the stream.
    pub work: bool,
    /// Whether tenants without rules of their own get those that are published.
    pub rules: bool,
    /// How long a batch may go without a sign of progress before another replica gets it.
    pub ack_wait: Duration,
    /// How often a batch is tried before it becomes a dead letter.
    pub attempts: u32,
    /// The most bytes that wait to be judged; beyond, batches are refused.
    pub max_bytes: u64,
    /// The number of servers that keep each message.
    pub replicas: usize,
}

/// Returns whether this is a URL of HTTP or HTTPS with a host.
#[must_use]
pub fn is_http_url(url: &str) -> bool {
    let parsed = url.parse::<hyper::Uri>().ok();
    parsed.is_some_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
}
