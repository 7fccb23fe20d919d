//! Asking others over HTTP, and the files of what is shown and trusted.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The longest time to connect, and to get an answer.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);

/// What asks, and trusts these certificates, or the system's.
pub(super) fn agent(ca: Option<&Path>) -> anyhow::Result<ureq::Agent> {
    let roots = match ca {
        Some(file) => certificates(file)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let roots: Vec<_> = roots.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        // There is no other where the program itself serves no TLS.
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        // What answers elsewhere is not who was meant.
        .max_redirects(0)
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(ANSWER))
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(config.into())
}

/// The certificates in a file of PEM.
pub(super) fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = fs::read(file).with_context(|| format!("{}: cannot be read", file.display()))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.with_context(|| format!("{}: is no PEM", file.display()))?;
    if certificates.is_empty() {
        bail!("{}: holds no certificate in PEM", file.display());
    }
    Ok(certificates)
}

/// The text of a file of one line, as a token, without its end.
pub(super) fn read_line(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("{}: cannot be read", file.display()))?;
    Ok(text.trim().to_owned())
}
