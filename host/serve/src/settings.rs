//! The settings of a service, checked and with all paths resolved.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::storage::DataFolder;

/// The settings of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The folder of all data that outlives the process: dead letters, spools, history.
    pub data: PathBuf,
    /// TLS. Without it, the service speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Maximum number of bytes of a batch, both as sent and when decompressed.
    pub max_body: u64,
    /// Maximum number of bytes of all batches that are being read or judged.
    pub in_flight: u64,
    /// Maximum number of connections.
    pub connections: usize,
    /// The time in which a request must arrive.
    pub timeout: Duration,
    /// Maximum time for batches in flight after a termination signal.
    pub drain: Duration,
    /// The file with one line for each record.
    pub ledger: Option<PathBuf>,
    /// The clients.
    pub clients: Vec<ClientSettings>,
    /// The sinks.
    pub sinks: Vec<SinkSettings>,
    /// The NATS server that carries batches and alerts from replica to replica.
    pub jetstream: Option<JetStreamSettings>,
}

/// The file of dead letters in the data folder.
const DEAD_LETTERS: &str = "dead-letters.ndjson";

impl Settings {
    /// Returns the file of dead letters.
    #[must_use]
    pub fn dead_letters(&self) -> PathBuf {
        self.data.join(DEAD_LETTERS)
    }

    /// Returns the files that the settings choose for output: the ledger, and those of sinks.
    pub fn outputs(&self) -> impl Iterator<Item = &Path> {
        let sinks = self.sinks.iter().filter_map(|sink| match &sink.kind {
            SinkKind::File(path) => Some(&**path),
            SinkKind::Stdout | SinkKind::Webhook(_) | SinkKind::JetStream => None,
        });
        self.ledger.as_deref().into_iter().chain(sinks)
    }

    /// Returns the files that the service reads or writes itself, which no output may be.
    #[must_use]
    pub fn own_files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.dead_letters(), self.data.join(DataFolder::LOCK)];
        files.extend(self.tls.iter().flat_map(|tls| {
            [Some(&tls.certificate), Some(&tls.key), tls.client_ca.as_ref()].into_iter().flatten().cloned()
        }));
        files.extend(self.clients.iter().filter_map(|client| match &client.credential {
            Credential::TokenFile(file) => Some(file.clone()),
            Credential::Certificate(_) => None,
        }));
        files
    }
}

/// The files of TLS, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The authority that signs the certificates of clients.
    pub client_ca: Option<PathBuf>,
}

/// A client of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// The name, which is also the `input` of its records.
    pub name: String,
    /// The tenant of its records, and the only one that it may see. Without it, claims decide, and the client sees
    /// everything.
    pub tenant: Option<String>,
    /// The roles, which say what it may do.
    pub roles: Vec<Role>,
    /// Its credential.
    pub credential: Credential,
}

/// The credential of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The bearer token in this file.
    TokenFile(PathBuf),
    /// A certificate from the clients' authority with this common name, DNS name or URI.
    Certificate(String),
}

/// A role of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Send records.
    Ingest,
    /// See metrics, rules and alerts.
    View,
    /// Publish packages and choose versions.
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

/// A sink of alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSettings {
    /// The name, which is a label of metrics and part of file names.
    pub name: String,
    /// Whether alerts are written as OCSF Detection Findings.
    pub ocsf: bool,
    /// The kind.
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
    /// Maximum number of bytes that wait for the endpoint on the disk.
    pub spool: u64,
    /// Maximum number of alerts in one request.
    pub alerts_per_request: usize,
    /// The time after which an alert that was not accepted becomes a dead letter.
    pub give_up: Duration,
}

/// A NATS server with JetStream, and how it is used.
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
    /// Whether batches from HTTP are stored in the stream instead of judged at once.
    pub ingest: bool,
    /// Whether this replica judges batches from the stream.
    pub work: bool,
    /// Whether tenants without rules of their own use the published ones.
    pub rules: bool,
    /// The time without progress after which the server gives a batch to another replica.
    pub ack_wait: Duration,
    /// The number of attempts after which a batch becomes a dead letter.
    pub attempts: u32,
    /// Maximum number of bytes in the stream. Beyond it, batches are refused.
    pub max_bytes: u64,
    /// The number of servers that keep each message.
    pub replicas: usize,
}

/// Returns whether this is an HTTP or HTTPS URL with a host.
#[must_use]
pub fn is_http_url(url: &str) -> bool {
    let parsed = url.parse::<hyper::Uri>().ok();
    parsed.is_some_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
}
