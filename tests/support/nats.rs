//! A `nats-server` on loopback that tests start, kill and start again.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures_util::StreamExt as _;

use super::service::wait_until;

/// The server's config in its folder.
const CONFIG: &str = "nats.conf";

/// A server with its streams in a folder.
pub(crate) struct Nats {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Nats {
    pub(crate) fn start() -> Self {
        // By default it is three quarters of the free disk, which may be less than what our streams may use.
        Self::start_with_room("1TB")
    }

    /// Starts one that keeps a gigabyte at most.
    pub(crate) fn start_small() -> Self {
        Self::start_with_room("1GB")
    }

    fn start_with_room(room: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = format!("jetstream {{ store_dir: \"{}\", max_file_store: {room} }}\n", folder.path().display());
        std::fs::write(folder.path().join(CONFIG), store).expect("written");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let nats = Self { child: spawn(folder.path(), port), port, folder };
        nats.wait();
        nats
    }

    fn wait(&self) {
        let address = ("127.0.0.1", self.port);
        wait_until("nats-server listens", || std::net::TcpStream::connect(address).is_ok());
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it ends");
    }

    /// Starts it again without its data.
    pub(crate) fn start_empty(&mut self) {
        std::fs::remove_dir_all(self.folder.path().join("jetstream")).expect("it has data");
        self.start_again();
    }

    /// Starts it again on what it has on its disk.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.folder.path(), self.port);
        self.wait();
    }
}

fn spawn(folder: &Path, port: u16) -> Child {
    let mut command = Command::new("nats-server");
    command.args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--config"]).arg(folder.join(CONFIG));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| {
        panic!("nats-server cannot be started: {error}. These tests need it: apt-get install nats-server")
    })
}

impl Nats {
    /// What is in a stream: of each message the headers as text, and the payload.
    pub(crate) fn messages(&self, stream: &str) -> Vec<(String, Vec<u8>)> {
        self.block_on(async |jetstream| {
            let stream = jetstream.get_stream(stream).await.expect("the stream is there");
            let state = &stream.cached_info().state;
            let mut messages = Vec::new();
            for sequence in state.first_sequence..=state.last_sequence {
                if let Ok(message) = stream.get_raw_message(sequence).await {
                    messages.push((format!("{:?}", message.headers), message.payload.to_vec()));
                }
            }
            messages
        })
    }

    /// How many messages are in a stream.
    pub(crate) fn count(&self, stream: &str) -> u64 {
        self.block_on(async |jetstream| {
            jetstream.get_stream(stream).await.expect("the stream is there").cached_info().state.messages
        })
    }

    /// Returns the state of the stream as text.
    pub(crate) fn state(&self) -> String {
        self.block_on(async |jetstream| {
            let stream = jetstream.get_stream("portcullis-records").await.expect("the stream is there");
            let consumer = stream.consumer_info("judges").await;
            let consumer =
                consumer.map(|info| (info.num_pending, info.num_ack_pending, info.delivered, info.ack_floor));
            format!("{:?} {consumer:?}", stream.cached_info().state)
        })
    }

    /// How many objects are in an object store.
    pub(crate) fn objects(&self, bucket: &str) -> usize {
        self.block_on(async |jetstream| {
            let store = jetstream.get_object_store(bucket).await.expect("the store is there");
            store.list().await.expect("it can be listed").count().await
        })
    }

    /// How many deliveries have not been acknowledged by whoever judges them.
    pub(crate) fn unjudged(&self) -> u64 {
        self.block_on(async |jetstream| {
            let stream = jetstream.get_stream("portcullis-records").await.expect("the stream is there");
            let Ok(info) = stream.consumer_info("judges").await else { return u64::MAX };
            info.num_pending + stream.cached_info().state.messages
        })
    }

    /// Puts a message into a stream, as anybody else would.
    pub(crate) fn publish(&self, subject: &str, headers: &[(&'static str, &str)], payload: &[u8]) {
        self.block_on(async |jetstream| {
            let mut all = async_nats::HeaderMap::new();
            for (name, value) in headers {
                all.insert(*name, *value);
            }
            let sent = jetstream.publish_with_headers(subject.to_owned(), all, payload.to_vec().into()).await;
            sent.expect("sent").await.expect("stored");
        });
    }

    /// Asks the server something.
    pub(crate) fn block_on<T>(&self, ask: impl AsyncFnOnce(async_nats::jetstream::Context) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = async_nats::connect(self.url()).await.expect("the server is there");
            ask(async_nats::jetstream::new(client)).await
        })
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
