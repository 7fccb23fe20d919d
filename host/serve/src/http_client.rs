//! An HTTP client, and readers for files of certificates and tokens.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

/// Maximum time to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// Maximum time from a request to the end of its answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Maximum number of bytes of an answer.
const LONGEST: usize = 64 << 20;

/// A client for HTTP/1.1, with or without TLS. It follows no redirects, because another server could answer there.
#[derive(Clone)]
pub(crate) struct HttpClient(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl HttpClient {
    /// Returns a client that trusts the certificates in this file, or without a file the system's.
    pub(crate) fn new(ca: Option<&Path>) -> anyhow::Result<Self> {
        let certificates = match ca {
            Some(file) => certificates(file)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates);
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        let tls = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
        Ok(Self(Client::builder(TokioExecutor::new()).build(tls.wrap_connector(tcp))))
    }

    /// Sends a request and returns its whole answer.
    pub(crate) async fn send(&self, mut request: Request<Full<Bytes>>) -> anyhow::Result<Response<Bytes>> {
        let agent = header::HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        let answer = async {
            let (head, body) = self.0.request(request).await?.into_parts();
            let body = Limited::new(body, LONGEST).collect().await.map_err(|error| anyhow!(error))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        timeout(ANSWER, answer).await.map_err(|_| anyhow!("no answer within {} s", ANSWER.as_secs()))?
    }
}

/// Returns the certificates in a file of PEM.
pub(crate) fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = fs::read(file).with_context(|| format!("{}: cannot be read", file.display()))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.with_context(|| format!("{}: is not valid PEM", file.display()))?;
    if certificates.is_empty() {
        bail!("{}: contains no certificate in PEM", file.display());
    }
    Ok(certificates)
}

/// Returns the text of a file without surrounding white space, such as a token.
pub(crate) fn read_line(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("{}: cannot be read", file.display()))?;
    Ok(text.trim().to_owned())
}
