//! Clients, which authenticate with a bearer token or a certificate.

use std::fs;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::settings::{ClientSettings, Credential, Role};

/// Minimum number of characters of a token. A shorter one could be guessed.
const MIN_TOKEN: usize = 16;

/// A client that has authenticated.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: Arc<str>,
    /// The tenant whose records it sends, and the only one that it may see.
    pub(crate) tenant: Option<usize>,
    roles: Vec<Role>,
}

impl Client {
    pub(crate) fn may(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// All clients, by their credentials.
#[derive(Default)]
pub(crate) struct Clients {
    by_token: Vec<([u8; 32], Arc<Client>)>,
    by_certificate: Vec<(String, Arc<Client>)>,
}

impl Clients {
    /// Loads the clients of the config, with the tokens that are in their files now.
    pub(crate) fn load(clients: &[ClientSettings], tenants: &[Arc<str>]) -> anyhow::Result<Self> {
        let mut loaded = Self::default();
        for client in clients {
            let tenant = client.tenant.as_ref().and_then(|name| tenants.iter().position(|tenant| **tenant == **name));
            if let (Some(name), None) = (&client.tenant, tenant) {
                bail!("client {}: unknown tenant {name}; restart to add or remove tenants", client.name);
            }
            let known = Arc::new(Client { name: client.name.as_str().into(), tenant, roles: client.roles.clone() });
            match &client.credential {
                Credential::TokenFile(file) => {
                    let of = || format!("client {}: token-file: {}", client.name, file.display());
                    let token = fs::read_to_string(file).with_context(of)?;
                    let token = token.trim();
                    if token.len() < MIN_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                        bail!("{}: expected a token of at least {MIN_TOKEN} visible ASCII characters", of());
                    }
                    let digest = digest(token);
                    if let Some((_, other)) = loaded.by_token.iter().find(|(known, _)| *known == digest) {
                        bail!("{}: {} has the same token; each client needs its own", of(), other.name);
                    }
                    loaded.by_token.push((digest, known));
                }
                Credential::Certificate(name) => loaded.by_certificate.push((name.clone(), known)),
            }
        }
        Ok(loaded)
    }

    /// Returns the client with this token. The time it takes does not depend on which token matches, or whether one
    /// does.
    pub(crate) fn by_token(&self, token: &str) -> Option<&Arc<Client>> {
        let given = digest(token);
        // The index behind the last client stands for no client.
        let mut index = u32::try_from(self.by_token.len()).ok()?;
        for (number, (known, _)) in (0..).zip(&self.by_token) {
            let is_it: Choice = known.ct_eq(&given);
            index.conditional_assign(&number, is_it);
        }
        self.by_token.get(index as usize).map(|(_, known)| known)
    }

    /// Returns the client whose certificate has one of these names.
    pub(crate) fn by_certificate(&self, names: &[String]) -> Option<&Arc<Client>> {
        self.by_certificate.iter().find(|(name, _)| names.contains(name)).map(|(_, known)| known)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Returns the names in a certificate: common name, DNS names and URIs.
pub(crate) fn names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let alternative = alternative.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some(*name),
        _ => None,
    });
    common.chain(alternative).map(str::to_owned).collect()
}
