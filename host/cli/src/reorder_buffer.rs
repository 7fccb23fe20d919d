//! Puts what the workers have judged into the order in which it was read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::failure::{Failure, both};
use crate::stop::Stop;
use crate::worker::JudgedBatch;
use crate::writer::Writer;

/// The most bytes of batches in flight, unless it is one batch: the reader waits, so that memory is bounded.
const IN_FLIGHT: usize = 32 << 20;

/// A buffer that writes batches in their order.
pub(crate) struct ReorderBuffer {
    state: Mutex<State>,
    moved: Condvar,
    stop: Arc<Stop>,
    /// Records that have been written.
    written: AtomicU64,
    /// All of them have been.
    is_finishing: AtomicBool,
}

struct State {
    writer: Writer,
    /// The batch that is written next.
    next: u64,
    /// Those that came before their turn.
    waiting: BTreeMap<u64, JudgedBatch>,
    /// The bytes of batches in flight.
    in_flight: usize,
    /// Whether something could not be written.
    failed: Result<(), Failure>,
}

impl ReorderBuffer {
    /// Returns a buffer that stops the reading when something cannot be written.
    pub(crate) fn new(writer: Writer, stop: Arc<Stop>) -> Self {
        let state = State { writer, next: 0, waiting: BTreeMap::new(), in_flight: 0, failed: Ok(()) };
        Self {
            state: Mutex::new(state),
            moved: Condvar::new(),
            stop,
            written: AtomicU64::new(0),
            is_finishing: AtomicBool::new(false),
        }
    }

    /// Waits until there is room for a batch of this many bytes, and counts it as in flight.
    pub(crate) fn take(&self, size: usize) {
        let mut state = self.lock();
        while state.in_flight > 0 && state.in_flight + size > IN_FLIGHT {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.in_flight += size;
    }

    /// Writes a batch, and those that were waiting for it; or lets it wait. When something cannot be written, no more is read,
    /// and what has been read is still written to the other outputs.
    pub(crate) fn put(&self, batch: JudgedBatch) {
        let mut state = self.lock();
        state.waiting.insert(batch.number, batch);
        let State { writer, next, waiting, in_flight, failed } = &mut *state;
        while let Some(batch) = waiting.remove(next) {
            *in_flight -= batch.size;
            *next += 1;
            let written = writer.write(batch, &self.written);
            if written.is_err() {
                self.stop.set();
            }
            *failed = both(std::mem::replace(failed, Ok(())), written);
        }
        drop(state);
        self.moved.notify_all();
    }

    /// Ends the run when everything that was taken has been put.
    ///
    /// # Errors
    /// Something could not be written.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        self.is_finishing.store(true, Ordering::Relaxed);
        let mut state = self.lock();
        let failed = std::mem::replace(&mut state.failed, Ok(()));
        both(failed, state.writer.finish())
    }

    /// Whether a run that has been stopped comes to its end: a record is written every second, and nobody asks again.
    pub(crate) fn comes_to_an_end(&self, asks_again: &mut dyn FnMut() -> bool) -> bool {
        let (mut written, mut since) = (self.written.load(Ordering::Relaxed), Instant::now());
        while !self.is_finishing.load(Ordering::Relaxed) {
            if since.elapsed() >= Duration::from_secs(1) || asks_again() {
                return false;
            }
            let now = self.written.load(Ordering::Relaxed);
            if now != written {
                (written, since) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
