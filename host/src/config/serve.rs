//! `[serve]`: what a service listens on, who may do what there, and where its alerts go.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::jetstream::{JetStream, JetStreamTable};
use super::names::Names;
use super::quantity::{GIB, Given, KIB, MIB, Unit};
use super::sinks::{Sink, SinkTable};
use super::{Config, ConfigError};

/// How records come in, and how much of them at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// The address.
    pub listen: SocketAddr,
    /// The folder of all that outlives the process: dead letters, spools, and what is named without a folder.
    pub data: PathBuf,
    /// TLS, without which only the machine itself is served unless `plaintext` says otherwise.
    pub tls: Option<Tls>,
    /// The most bytes of a delivery, as it comes and decompressed.
    pub max_body: u64,
    /// The most bytes of all deliveries that are being read or judged.
    pub in_hand: u64,
    /// The most connections.
    pub connections: usize,
    /// How long a request may take to come in.
    pub timeout: Duration,
    /// How long a termination waits for what is in hand.
    pub drain: Duration,
    /// Where every record has a line.
    pub ledger: Option<PathBuf>,
    /// Who may do what.
    pub clients: Vec<Client>,
    /// Where alerts go.
    pub sinks: Vec<Sink>,
    /// What carries deliveries and alerts from machine to machine, if anything does.
    pub jetstream: Option<JetStream>,
}

/// The files of TLS, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs the certificates of clients.
    pub client_ca: Option<PathBuf>,
}

/// Somebody who may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The name, which its records' `input` is.
    pub name: String,
    /// Whose the records are that it brings, and all that it may see. Without one, records are whose claim holds, and it
    /// may see everything.
    pub tenant: Option<String>,
    /// What it may do.
    pub roles: Vec<Role>,
    /// What it is known by.
    pub known_by: Proof,
}

/// What a client is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A bearer token, in this file.
    TokenFile(PathBuf),
    /// A certificate of the client's authority, with this common name, or DNS name or URI.
    Certificate(String),
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Bring records.
    Ingest,
    /// See figures, rules and alerts.
    View,
    /// Bring packages, and say which versions are wanted.
    Publish,
}

impl Role {
    const ALL: [(&str, Self); 3] = [("ingest", Self::Ingest), ("view", Self::View), ("publish", Self::Publish)];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ServeTable {
    listen: Option<Spanned<String>>,
    data: Spanned<PathBuf>,
    tls: Option<TlsTable>,
    #[serde(default)]
    plaintext: bool,
    max_body: Given,
    in_hand: Given,
    connections: Given,
    timeout: Given,
    drain: Given,
    ledger: Option<PathBuf>,
    #[serde(default)]
    clients: Vec<ClientTable>,
    #[serde(default)]
    sinks: Vec<SinkTable>,
    jetstream: Option<JetStreamTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TlsTable {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ClientTable {
    name: Spanned<String>,
    tenant: Option<Spanned<String>>,
    roles: Spanned<Vec<String>>,
    token_file: Option<PathBuf>,
    certificate: Option<Spanned<String>>,
}

impl Config {
    /// What the config says of the service, if anything.
    ///
    /// # Errors
    /// Something has a value that cannot be.
    pub fn serve(&self) -> Result<Option<Serve>, ConfigError> {
        self.serve.as_ref().map(|table| self.serve_of(table)).transpose()
    }

    /// Whether a client of the service brings records of this tenant.
    pub(super) fn has_client_of(&self, tenant: &str) -> bool {
        let clients = self.serve.iter().flat_map(|serve| &serve.clients);
        clients.filter_map(|client| client.tenant.as_ref()).any(|named| named.get_ref() == tenant)
    }

    fn serve_of(&self, table: &ServeTable) -> Result<Serve, ConfigError> {
        let wrong = |span, what| self.error_at(span, what);
        let path = |path: &PathBuf| self.folder().join(path);
        let listen = match &table.listen {
            None => SocketAddr::from(([127, 0, 0, 1], 8443)),
            Some(text) => text.get_ref().parse().map_err(|_| {
                let what = "expected an address and a port, such as \"127.0.0.1:8443\" or \"[::]:8443\"";
                self.error(text, format!("listen: {:?}: {what}", text.get_ref()))
            })?,
        };
        if let (Some(text), None, false, false) =
            (&table.listen, &table.tls, table.plaintext, listen.ip().is_loopback())
        {
            let what = format!(
                "listen: {listen} can be reached from elsewhere, and there is no tls: tokens and records would be open to \
                 whoever listens. Give tls = {{ certificate = …, key = … }}; or plaintext = true, where something in front \
                 does TLS"
            );
            return Err(self.error(text, what));
        }
        if table.data.get_ref().as_os_str().is_empty() {
            return Err(self.error(&table.data, "data: expected the path of a folder".to_owned()));
        }
        let data = path(table.data.get_ref());
        let max_body = Unit::Bytes.given("max-body", &table.max_body, 64 * KIB..=64 * MIB, &wrong)?.unwrap_or(64 * MIB);
        let in_hand = Unit::Bytes.given("in-hand", &table.in_hand, MIB..=64 * GIB, &wrong)?;
        let in_hand = in_hand.unwrap_or((256 * MIB).max(max_body));
        if in_hand < max_body {
            let span = table.in_hand.as_ref().map(Spanned::span).unwrap_or_default();
            let what = "in-hand: expected no less than max-body: the largest delivery would never be taken";
            return Err(wrong(span, what.to_owned()));
        }
        let connections = Unit::None.given("connections", &table.connections, 1..=100_000, &wrong)?.unwrap_or(1024);
        let time = |key, given, default: u64| {
            let milliseconds = Unit::Milliseconds.given(key, given, 100..=86_400_000, &wrong)?;
            Ok(Duration::from_millis(milliseconds.unwrap_or(default)))
        };
        Ok(Serve {
            listen,
            tls: table.tls.as_ref().map(|tls| Tls {
                certificate: path(&tls.certificate),
                key: path(&tls.key),
                client_ca: tls.client_ca.as_ref().map(path),
            }),
            max_body,
            in_hand,
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
            timeout: time("timeout", &table.timeout, 30_000)?,
            drain: time("drain", &table.drain, 20_000)?,
            ledger: table.ledger.as_ref().map(|ledger| data.join(ledger)),
            clients: self.clients(table)?,
            jetstream: table.jetstream.as_ref().map(|table| self.jetstream(table)).transpose()?,
            sinks: self.sinks(&table.sinks, table.jetstream.is_some(), &data)?,
            data,
        })
    }

    fn clients(&self, table: &ServeTable) -> Result<Vec<Client>, ConfigError> {
        let tenants: Vec<&str> = match &self.tenants {
            Some(tenants) => tenants.iter().map(super::tenants::TenantTable::name).collect(),
            None => vec![crate::pipeline::DEFAULT_TENANT],
        };
        let mut names = Names::new();
        table.clients.iter().map(|client| self.client(client, table, &tenants, &mut names)).collect()
    }

    fn client<'t>(
        &self,
        client: &'t ClientTable,
        table: &ServeTable,
        tenants: &[&str],
        names: &mut Names<'t>,
    ) -> Result<Client, ConfigError> {
        let name = self.new_name("clients", &client.name, names)?;
        if let Some(tenant) = &client.tenant
            && !tenants.contains(&&**tenant.get_ref())
        {
            let what = format!("tenant: there is no {:?}; there are: {}", tenant.get_ref(), tenants.join(", "));
            return Err(self.error(tenant, what));
        }
        let role = |word: &String| Role::ALL.into_iter().find(|(known, _)| known == word).map(|(_, role)| role);
        let roles: Option<Vec<Role>> = client.roles.get_ref().iter().map(role).collect();
        let roles = roles.filter(|roles| !roles.is_empty()).ok_or_else(|| {
            let words = Role::ALL.map(|(word, _)| format!("{word:?}")).join(", ");
            self.error(&client.roles, format!("roles: expected a list of one or more of {words}"))
        })?;
        let known_by = match (&client.token_file, &client.certificate) {
            (Some(file), None) => Proof::TokenFile(self.folder().join(file)),
            (None, Some(name)) => {
                if table.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none()) {
                    let what = "certificate: nobody would check it: give tls a client-ca";
                    return Err(self.error(name, what.to_owned()));
                }
                Proof::Certificate(name.get_ref().clone())
            }
            _ => {
                let what = format!("clients: what is {name} known by? Expected one of token-file and certificate");
                return Err(self.error(&client.name, what));
            }
        };
        Ok(Client {
            name: name.to_owned(),
            tenant: client.tenant.as_ref().map(|tenant| tenant.get_ref().clone()),
            roles,
            known_by,
        })
    }
}
