//! Connections: how many there are, how long they may take, and TLS.

use std::fs;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use portcullis::config::{Serve, Tls};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::clients;
use super::routes::Peer;
use crate::cli::web::certificates;

/// How long a client may take to greet, and to send the head of a request, unless requests have less time in all; also the first
/// of a connection, and the next.
const HEAD: Duration = Duration::from_secs(20);

/// The most bytes of a request's head.
const LONGEST_HEAD: usize = 64 << 10;

/// What TLS goes by; it can be changed while connections come.
pub(super) struct Security(RwLock<Option<Arc<ServerConfig>>>);

impl Security {
    pub(super) fn load(tls: Option<&Tls>) -> anyhow::Result<Self> {
        Ok(Self(RwLock::new(tls.map(server_config).transpose()?.map(Arc::new))))
    }

    /// Reads the files again. Connections that are there go on with what they have.
    pub(super) fn reload(&self, tls: Option<&Tls>) -> anyhow::Result<()> {
        let config = tls.map(server_config).transpose()?.map(Arc::new);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    fn now(&self) -> Option<Arc<ServerConfig>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn server_config(tls: &Tls) -> anyhow::Result<ServerConfig> {
    let chain = certificates(&tls.certificate).context("tls: certificate")?;
    let key = fs::read(&tls.key).with_context(|| format!("tls: key: {}: cannot be read", tls.key.display()))?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .with_context(|| format!("tls: key: {}: holds no private key in PEM", tls.key.display()))?;
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

/// Takes connections until the service ends, and waits then for those that are in the middle of something.
pub(super) async fn serve(
    listener: TcpListener,
    security: Arc<Security>,
    config: &Serve,
    router: Router,
    ends: watch::Receiver<bool>,
) {
    let (connections, head) = (config.connections, HEAD.min(config.timeout));
    let places = Arc::new(Semaphore::new(connections));
    let mut ending = ends.clone();
    loop {
        let place = tokio::select! {
            () = ended(&mut ending) => break,
            place = Arc::clone(&places).acquire_owned() => place.expect("it is never closed"),
        };
        let stream = tokio::select! {
            () = ended(&mut ending) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: some may be free soon.
                    tracing::warn!(error = %error, "no connection can be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let (router, ends, security) = (router.clone(), ends.clone(), security.now());
        tokio::spawn(async move {
            connection(stream, security, head, router, ends).await;
            drop(place);
        });
    }
    drop(listener);
    // All places are free when all connections are gone.
    let _ = places.acquire_many(u32::try_from(connections).unwrap_or(u32::MAX)).await;
}

/// Waits for the service to end.
pub(super) async fn ended(ends: &mut watch::Receiver<bool>) {
    // Who could tell is gone when it has.
    let _ = ends.wait_for(|ends| *ends).await;
}

async fn connection(
    stream: TcpStream,
    security: Option<Arc<ServerConfig>>,
    head: Duration,
    router: Router,
    ends: watch::Receiver<bool>,
) {
    // Answers are short.
    let _ = stream.set_nodelay(true);
    match security {
        None => requests(stream, Peer::default(), head, router, ends).await,
        Some(config) => {
            let stream = match timeout(head, TlsAcceptor::from(config).accept(stream)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(error = %error, "a connection does not come to TLS"),
                Err(_) => return tracing::debug!("a connection takes too long to come to TLS"),
            };
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let peer = Peer(certificate.map(|certificate| clients::names(certificate)).unwrap_or_default().into());
            requests(stream, peer, head, router, ends).await;
        }
    }
}

async fn requests<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: Peer,
    head: Duration,
    router: Router,
    mut ends: watch::Receiver<bool>,
) {
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ended(&mut ends) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "a connection ends early");
    }
}
