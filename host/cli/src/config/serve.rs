//! `[serve]`: the address, bounds and clients of the service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use portcullis_serve::settings::{ClientSettings, Credential, Role, Settings, Tls};
use serde::Deserialize;
use toml::Spanned;

use super::jetstream::JetStreamTable;
use super::names::{Names, new_name};
use super::quantity::{GIB, Given, KIB, MIB, Unit};
use super::sinks::{SinkTable, sinks};
use super::source::{ConfigError, Source};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ServeTable {
    listen: Option<Spanned<String>>,
    data: Spanned<PathBuf>,
    tls: Option<TlsTable>,
    #[serde(default)]
    plaintext: bool,
    max_body: Given,
    in_flight: Given,
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
    roles: Spanned<Vec<Role>>,
    token_file: Option<PathBuf>,
    certificate: Option<Spanned<String>>,
}

impl ServeTable {
    /// Returns the tenants that clients name.
    pub(super) fn tenants_of_clients(&self) -> impl Iterator<Item = &str> {
        self.clients.iter().filter_map(|client| Some(&**client.tenant.as_ref()?.get_ref()))
    }

    /// Returns the settings of the service. `tenants` are the tenants that the config has.
    pub(super) fn settings(&self, source: &Source, tenants: &[&str]) -> Result<Settings, ConfigError> {
        if self.data.get_ref().as_os_str().is_empty() {
            return Err(source.error(&self.data, "data: expected the path of a folder"));
        }
        let data = source.path(self.data.get_ref());
        let max_body = Unit::Bytes.given("max-body", &self.max_body, 64 * KIB..=64 * MIB, source)?.unwrap_or(64 * MIB);
        let in_flight = Unit::Bytes.given("in-flight", &self.in_flight, MIB..=64 * GIB, source)?;
        let in_flight = in_flight.unwrap_or((256 * MIB).max(max_body));
        if in_flight < max_body {
            let span = self.in_flight.as_ref().map(Spanned::span).unwrap_or_default();
            let what = "in-flight: expected at least max-body; otherwise the largest batch is never accepted";
            return Err(source.error_at(span, what));
        }
        let connections = Unit::None.given("connections", &self.connections, 1..=100_000, source)?.unwrap_or(1024);
        let time = |key, given, default: u64| {
            let milliseconds = Unit::Milliseconds.given(key, given, 100..=86_400_000, source)?;
            Ok(Duration::from_millis(milliseconds.unwrap_or(default)))
        };
        Ok(Settings {
            listen: self.listen(source)?,
            tls: self.tls.as_ref().map(|tls| Tls {
                certificate: source.path(&tls.certificate),
                key: source.path(&tls.key),
                client_ca: tls.client_ca.as_ref().map(|file| source.path(file)),
            }),
            max_body,
            in_flight,
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
            timeout: time("timeout", &self.timeout, 30_000)?,
            drain: time("drain", &self.drain, 20_000)?,
            ledger: self.ledger.as_ref().map(|ledger| data.join(ledger)),
            clients: self.clients(source, tenants)?,
            jetstream: self.jetstream.as_ref().map(|table| table.settings(source)).transpose()?,
            sinks: sinks(&self.sinks, source, self.jetstream.is_some(), &data)?,
            data,
        })
    }

    fn listen(&self, source: &Source) -> Result<SocketAddr, ConfigError> {
        let Some(text) = &self.listen else { return Ok(SocketAddr::from(([127, 0, 0, 1], 8443))) };
        let listen: SocketAddr = text.get_ref().parse().map_err(|_| {
            let what = "expected an address and a port, such as \"127.0.0.1:8443\" or \"[::]:8443\"";
            source.error(text, format!("listen: {:?}: {what}", text.get_ref()))
        })?;
        if self.tls.is_none() && !self.plaintext && !listen.ip().is_loopback() {
            let what = format!(
                "listen: {listen} is reachable from other machines, and without TLS anyone on the way can read tokens and \
                 records; set tls = {{ certificate = …, key = … }}, or plaintext = true if a proxy does TLS"
            );
            return Err(source.error(text, what));
        }
        Ok(listen)
    }

    fn clients(&self, source: &Source, tenants: &[&str]) -> Result<Vec<ClientSettings>, ConfigError> {
        let mut names = Names::new();
        let has_client_ca = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let client = |client: &ClientTable, name: &str| client.settings(source, name, tenants, has_client_ca);
        self.clients.iter().map(|table| client(table, new_name(source, "clients", &table.name, &mut names)?)).collect()
    }
}

impl ClientTable {
    fn settings(
        &self,
        source: &Source,
        name: &str,
        tenants: &[&str],
        has_client_ca: bool,
    ) -> Result<ClientSettings, ConfigError> {
        if let Some(tenant) = &self.tenant
            && !tenants.contains(&&**tenant.get_ref())
        {
            let what = format!("tenant: unknown tenant {:?}; expected one of {}", tenant.get_ref(), tenants.join(", "));
            return Err(source.error(tenant, what));
        }
        if self.roles.get_ref().is_empty() {
            let roles = Role::ALL.map(|role| format!("{:?}", role.as_str())).join(", ");
            return Err(source.error(&self.roles, format!("roles: expected a list of one or more of {roles}")));
        }
        let credential = match (&self.token_file, &self.certificate) {
            (Some(file), None) => Credential::TokenFile(source.path(file)),
            (None, Some(name)) if has_client_ca => Credential::Certificate(name.get_ref().clone()),
            (None, Some(name)) => {
                return Err(source.error(name, "certificate: needs client-ca in tls, so that certificates are checked"));
            }
            _ => {
                let what = format!("clients: {name}: expected either token-file or certificate");
                return Err(source.error(&self.name, what));
            }
        };
        Ok(ClientSettings {
            name: name.to_owned(),
            tenant: self.tenant.as_ref().map(|tenant| tenant.get_ref().clone()),
            roles: self.roles.get_ref().clone(),
            credential,
        })
    }
}
