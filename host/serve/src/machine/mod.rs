//! What a service uses of its machine: the disk, the clock and threads. A simulation replaces all of them.

mod disk;

use std::future::Future;
use std::io;
use std::time::Instant;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::runtime::Handle;

pub(crate) use disk::{AppendFile, Disk, RealDisk, read_whole};

/// The machine of a service.
pub(crate) trait Machine: Send + Sync {
    /// Returns the disk.
    fn disk(&self) -> &dyn Disk;

    /// Returns the time. It does not jump when the system's clock is set: what waits must not age by a day.
    fn now(&self) -> Timestamp;

    /// Returns a random number from 0 to 1.
    fn random_share(&self) -> f64;

    /// Runs a loop that may block, on a thread of its own.
    fn spawn_thread(&self, name: &str, run: BoxFuture<'static, ()>) -> io::Result<()>;

    /// Runs a task that never blocks.
    fn spawn_task(&self, run: BoxFuture<'static, ()>);
}

/// The machine on which this process runs.
pub(crate) struct RealMachine {
    runtime: Handle,
    /// The time at which this was made, by both clocks.
    began: (Timestamp, Instant),
}

impl RealMachine {
    /// Returns the machine. Its tasks run on the current runtime.
    pub(crate) fn new() -> Self {
        Self { runtime: Handle::current(), began: (Timestamp::now(), Instant::now()) }
    }
}

impl Machine for RealMachine {
    fn disk(&self) -> &dyn Disk {
        &RealDisk
    }

    fn now(&self) -> Timestamp {
        let (time, instant) = self.began;
        time.saturating_add(instant.elapsed()).unwrap_or(time)
    }

    fn random_share(&self) -> f64 {
        let mut random = [0; 4];
        match getrandom::fill(&mut random) {
            Ok(()) => f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX),
            Err(_) => 1.0,
        }
    }

    fn spawn_thread(&self, name: &str, run: BoxFuture<'static, ()>) -> io::Result<()> {
        let runtime = self.runtime.clone();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(run)).map(drop)
    }

    fn spawn_task(&self, run: BoxFuture<'static, ()>) {
        self.runtime.spawn(run);
    }
}

/// Runs what may block, without holding up other tasks.
pub(crate) async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    // A panic is reported to the caller instead of ending its task, which may serve other requests.
    tokio::task::spawn_blocking(run).await.map_err(io::Error::other)
}

/// Returns the result of a future, or `None` after this time.
pub(crate) async fn within<T>(time: std::time::Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, future).await.ok()
}
