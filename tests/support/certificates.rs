//! Certificates that tests make: an authority, and what it signs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::service::PATIENCE;

/// Who signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key, in PEM.
pub(crate) struct Signed {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What a certificate says of whose it is.
pub(crate) enum Name<'n> {
    Common(&'n str),
    Dns(&'n str),
    Uri(&'n str),
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// The certificate of a server on this machine.
    pub(crate) fn server(&self) -> Signed {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        self.sign(&CertificateParams::new(names).expect("names"))
    }

    /// The certificate of a client.
    pub(crate) fn client(&self, name: &Name) -> Signed {
        self.client_with(name, |_| {})
    }

    /// The certificate of a client, changed before it is signed.
    pub(crate) fn client_with(&self, name: &Name, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let mut params = CertificateParams::default();
        let common = if let Name::Common(name) = name { name } else { "somebody" };
        params.distinguished_name.push(DnType::CommonName, common);
        match name {
            Name::Common(_) => {}
            Name::Dns(name) => {
                params.subject_alt_names = vec![SanType::DnsName((*name).try_into().expect("a name"))];
            }
            Name::Uri(name) => params.subject_alt_names = vec![SanType::URI((*name).try_into().expect("a URI"))],
        }
        change(&mut params);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Signed {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        Signed { certificate, key: key.serialize_pem() }
    }
}

impl Signed {
    /// Writes it into a folder, as `NAME.crt` and `NAME.key`.
    pub(crate) fn write(&self, folder: &Path, name: &str) {
        for (suffix, text) in [("crt", &self.certificate), ("key", &self.key)] {
            fs::write(folder.join(name).with_extension(suffix), text).expect("written");
        }
    }
}

/// Whoever asks over TLS, trusts this authority, and shows this certificate.
pub(crate) fn tls_agent(authority: &Authority, client: Option<&Signed>) -> ureq::Agent {
    let root = Certificate::from_pem(authority.pem.as_bytes()).expect("PEM");
    let client = client.map(|signed| {
        let chain = [Certificate::from_pem(signed.certificate.as_bytes()).expect("PEM")];
        ClientCert::new_with_certs(&chain, PrivateKey::from_pem(signed.key.as_bytes()).expect("PEM"))
    });
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[root]))
        .client_cert(client)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false);
    config.timeout_global(Some(PATIENCE)).build().into()
}
