//! The reorder buffer: writes judged batches in the order in which they were read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::failure::{Failure, both};
use crate::stop::Stop;
use crate::worker::JudgedBatch;
use crate::writer::Writer;

/// Maximum number of bytes of batches in flight. Beyond it the reader waits, so that memory is bounded. One batch may be larger.
const IN_FLIGHT: usize = 32 << 20;

/// Maximum number of bytes of results that wait for their turn. Beyond it, workers wait with theirs, except the one whose
/// turn it is.
const WAITING: usize = 16 << 20;

/// Why a stopped run has not judged and written all its records.
pub(crate) enum NotEnded {
    /// A rule or an output takes too long.
    Hangs,
    /// The caller was interrupted.
    Interrupted,
}

/// A buffer that writes batches in their order.
pub(crate) struct ReorderBuffer {
    state: Mutex<State>,
    moved: Condvar,
    stop: Arc<Stop>,
    /// Number of records that were judged and of entries that were written, which grows while the run makes progress.
    steps: Arc<AtomicU64>,
    /// Whether all batches have been written.
    is_finishing: AtomicBool,
}

struct State {
    writer: Writer,
    /// The number of the batch to write next.
    next: u64,
    /// Parts of batches that were judged before their turn.
    waiting: BTreeMap<u64, Vec<JudgedBatch>>,
    /// The bytes of their results.
    waiting_bytes: usize,
    /// The bytes of batches in flight.
    in_flight: usize,
    /// The first failure to write.
    failed: Result<(), Failure>,
}

impl ReorderBuffer {
    /// Returns a buffer that sets `stop` when a write fails.
    pub(crate) fn new(writer: Writer, stop: Arc<Stop>) -> Self {
        let steps = Arc::clone(&writer.steps);
        let state = State { writer, next: 0, waiting: BTreeMap::new(), waiting_bytes: 0, in_flight: 0, failed: Ok(()) };
        Self { state: Mutex::new(state), moved: Condvar::new(), stop, steps, is_finishing: AtomicBool::new(false) }
    }

    /// Waits until a batch of this many bytes may be in flight, and counts it.
    pub(crate) fn admit(&self, size: usize) {
        let mut state = self.lock();
        while state.in_flight > 0 && state.in_flight + size > IN_FLIGHT {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.in_flight += size;
    }

    /// Writes a part of a batch and those that waited for it, or lets it wait. After a failed write no more is read, and
    /// what was read is still written to the other outputs.
    ///
    /// Batches are judged in their order, so the one whose turn it is is being judged, and its worker never waits here.
    pub(crate) fn put(&self, part: JudgedBatch) {
        let mut state = self.lock();
        while part.number != state.next && state.waiting_bytes > 0 && state.waiting_bytes + part.results > WAITING {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let State { writer, next, waiting, waiting_bytes, in_flight, failed } = &mut *state;
        *waiting_bytes += part.results;
        waiting.entry(part.number).or_default().push(part);
        while let Some(parts) = waiting.remove(next) {
            for part in parts {
                *waiting_bytes -= part.results;
                if part.is_last {
                    *in_flight -= part.size;
                    *next += 1;
                }
                let written = writer.write(part);
                if written.is_err() {
                    self.stop.set();
                }
                *failed = both(std::mem::replace(failed, Ok(())), written);
            }
        }
        drop(state);
        self.moved.notify_all();
    }

    /// Ends the run, after all batches in flight were put.
    ///
    /// # Errors
    /// A write failed.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        self.is_finishing.store(true, Ordering::Relaxed);
        let mut state = self.lock();
        let failed = std::mem::replace(&mut state.failed, Ok(()));
        both(failed, state.writer.finish())
    }

    /// Waits until all records of a stopped run are judged and written.
    ///
    /// # Errors
    /// No record is judged or written for a second, or `is_interrupted`.
    pub(crate) fn wait_for_end(&self, is_interrupted: &mut dyn FnMut() -> bool) -> Result<(), NotEnded> {
        let (mut before, mut since) = (self.steps.load(Ordering::Relaxed), Instant::now());
        while !self.is_finishing.load(Ordering::Relaxed) {
            if is_interrupted() {
                return Err(NotEnded::Interrupted);
            }
            if since.elapsed() >= Duration::from_secs(1) {
                return Err(NotEnded::Hangs);
            }
            let now = self.steps.load(Ordering::Relaxed);
            if now != before {
                (before, since) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
