//! TLS of the service.

use std::fs;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context as _;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::http_client::certificates;
use crate::settings::Tls;

/// The TLS configuration for new connections, which can be replaced while the service runs.
pub(crate) struct Security(RwLock<Option<Arc<ServerConfig>>>);

impl Security {
    pub(crate) fn load(tls: Option<&Tls>) -> anyhow::Result<Self> {
        Ok(Self(RwLock::new(tls.map(server_config).transpose()?.map(Arc::new))))
    }

    /// Reads the files again. Existing connections keep their configuration.
    pub(crate) fn reload(&self, tls: Option<&Tls>) -> anyhow::Result<()> {
        let config = tls.map(server_config).transpose()?.map(Arc::new);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Returns the configuration for a new connection.
    pub(super) fn current(&self) -> Option<Arc<ServerConfig>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn server_config(tls: &Tls) -> anyhow::Result<ServerConfig> {
    let chain = certificates(&tls.certificate).context("tls: certificate")?;
    let key = fs::read(&tls.key).with_context(|| format!("tls: key: {}: cannot be read", tls.key.display()))?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .with_context(|| format!("tls: key: {}: contains no private key in PEM", tls.key.display()))?;
    let builder = ServerConfig::builder();
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file).context("tls: client-ca")? {
                roots.add(certificate).with_context(|| format!("tls: client-ca: {}", file.display()))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.context("tls: client-ca")?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).context("tls: certificate and key")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
