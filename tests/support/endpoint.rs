//! Somebody's HTTP endpoint that takes alerts: it writes down what is posted, and answers as it is told to.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::certificates::Signed;
use super::json_lines;
use super::service::PATIENCE;

/// What was posted, and how it was answered.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Posted {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// The alerts in it.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        json_lines(&self.body)
    }
}

/// An endpoint at work, until it is dropped.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// What is answered in the end.
    status: u16,
    /// What is answered before that, the next last.
    first: Mutex<Vec<u16>>,
    posted: Mutex<Vec<Posted>>,
    stops: AtomicBool,
}

impl Endpoint {
    /// Starts one that answers with these, and then always with the last of them.
    pub(crate) fn start(statuses: &[u16]) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), statuses, None)
    }

    /// The same over TLS.
    pub(crate) fn start_with_tls(statuses: &[u16], signed: &Signed) -> Self {
        let chain = CertificateDer::pem_slice_iter(signed.certificate.as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).expect("PEM");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_no_client_auth();
        let config = builder.with_single_cert(chain.expect("PEM"), key).expect("a certificate");
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), statuses, Some(Arc::new(config)))
    }

    /// The same at an address at which one was before.
    pub(crate) fn start_at(address: SocketAddr, statuses: &[u16], tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("an address");
        let mut first: Vec<u16> = statuses.iter().rev().copied().collect();
        let status = if first.len() == 1 { first.remove(0) } else { first[0] };
        let shared = Arc::new(Shared {
            status,
            first: Mutex::new(first),
            posted: Mutex::default(),
            stops: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stops.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let _ = stream.set_read_timeout(Some(PATIENCE));
                // Who goes away in the middle has not posted anything.
                let _ = match &tls {
                    None => serving.serve(stream),
                    Some(config) => {
                        let connection = ServerConnection::new(Arc::clone(config)).expect("a connection");
                        serving.serve(StreamOwned::new(connection, stream))
                    }
                };
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// An address at which nobody is, and an endpoint can be started.
    pub(crate) fn nobody() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// All that was posted so far.
    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.shared.posted.lock().expect("nobody panicked").clone()
    }

    /// How much was posted so far that is like this.
    pub(crate) fn count(&self, is_it: impl Fn(&Posted) -> bool) -> u64 {
        let posted = self.shared.posted.lock().expect("nobody panicked");
        posted.iter().filter(|posted| is_it(posted)).count() as u64
    }

    /// The alerts that were taken so far, in the order in which they came.
    pub(crate) fn taken(&self) -> Vec<Value> {
        self.posted().iter().filter(|posted| posted.status == 200).flat_map(Posted::alerts).collect()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::SeqCst);
        // It waits for somebody.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// One request on each connection.
    fn serve(&self, stream: impl Read + Write) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_owned());
        }
        let headers: Vec<(String, String)> = lines
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut posted = Posted { status: 0, headers, body: String::new() };
        let length = posted.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if lines.is_empty() {
            return Ok(());
        }
        posted.body = String::from_utf8(body).expect("UTF-8");
        let first = self.first.lock().expect("nobody panicked").pop();
        posted.status = first.unwrap_or(self.status);
        let status = posted.status;
        self.posted.lock().expect("nobody panicked").push(posted);
        let stream = reader.get_mut();
        write!(stream, "HTTP/1.1 {status} it\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        stream.flush()
    }
}
