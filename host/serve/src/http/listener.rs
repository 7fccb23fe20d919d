//! Accepts connections, within bounds on their number and time.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::Peer;
use super::deadline::WriteDeadline;
use super::open_files;
use super::peers::Peers;
use super::tls::Security;
use crate::clients;
use crate::settings::{Settings, SinkKind};

/// Maximum time for a TLS handshake, for the head of a request, and between two requests, unless `timeout` is
/// shorter.
const HEAD: Duration = Duration::from_secs(20);

/// Maximum number of bytes of a request's head.
const LONGEST_HEAD: usize = 64 << 10;

/// Minimum time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_mins(1);

/// The times that a connection has.
#[derive(Clone, Copy)]
struct Times {
    /// Maximum time for a handshake, for the head of a request, and between two requests.
    head: Duration,
    /// Maximum time in which the peer reads nothing of an answer.
    write: Duration,
}

/// Accepts connections until the service stops, and then waits for requests that are in progress.
pub(crate) async fn serve(
    listener: TcpListener,
    security: Arc<Security>,
    settings: &Settings,
    tenants: usize,
    router: Router,
    stopping: CancellationToken,
) {
    let webhooks = settings.sinks.iter().filter(|sink| matches!(sink.kind, SinkKind::Webhook(_))).count();
    let spools = webhooks * tenants;
    let head = HEAD.min(settings.timeout);
    let most = open_files::connections(settings.connections, spools);
    let places = Arc::new(Semaphore::new(most));
    let peers = Peers::new(most);
    let mut failed: Option<Instant> = None;
    let times = Times { head, write: settings.timeout };
    let connections = TaskTracker::new();
    loop {
        let place = tokio::select! {
            () = stopping.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let (stream, address) = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Most likely the process is out of file descriptors. Some may be free soon.
                    if failed.is_none_or(|failed| failed.elapsed() >= WARNING_INTERVAL) {
                        failed = Some(Instant::now());
                        tracing::warn!(error = %error, "cannot accept a connection");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        // Closed at once, so that it takes no place.
        let Some(counted) = peers.connect(address.ip()) else { continue };
        let (router, stopping, security) = (router.clone(), stopping.clone(), security.current());
        connections.spawn(async move {
            connection(stream, security, times, router, stopping).await;
            drop((place, counted));
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(
    stream: TcpStream,
    security: Option<Arc<ServerConfig>>,
    times: Times,
    router: Router,
    stopping: CancellationToken,
) {
    // Answers are short, and must not wait for more data.
    let _ = stream.set_nodelay(true);
    match security {
        None => requests(stream, Peer::default(), times, router, stopping).await,
        Some(config) => {
            let stream = match timeout(times.head, TlsAcceptor::from(config).accept(stream)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(error = %error, "TLS handshake failed"),
                Err(_) => return tracing::debug!("TLS handshake timed out"),
            };
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let peer = Peer(certificate.map(|certificate| clients::names(certificate)).unwrap_or_default().into());
            requests(stream, peer, times, router, stopping).await;
        }
    }
}

async fn requests<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: Peer,
    times: Times,
    router: Router,
    stopping: CancellationToken,
) {
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(times.head)
        // A client that has sent its last request may say so, and waits for the answer.
        .half_close(true)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(WriteDeadline::new(stream, times.write)), service);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "connection failed");
    }
}
