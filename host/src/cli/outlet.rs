//! Where what the workers have judged comes together, in the order in which it was read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::failure::{Failure, both};
use super::judging::Run;
use super::stop::Stop;
use super::worker::JudgedBatch;

/// So many bytes of batches are on their way at a time, or one batch: whoever reads waits, so that memory is bounded.
const IN_HAND: usize = 32 << 20;

/// Writes batches in their order.
pub(super) struct Outlet {
    state: Mutex<State>,
    moved: Condvar,
    stop: Arc<Stop>,
    /// Records that have been written.
    written: AtomicU64,
    /// All of them have been.
    is_finishing: AtomicBool,
}

struct State {
    run: Run,
    /// The batch that is written next.
    next: u64,
    /// Those that came before their turn.
    waiting: BTreeMap<u64, JudgedBatch>,
    /// The bytes of those that are on their way.
    in_hand: usize,
    /// Whether something could not be written.
    failed: Result<(), Failure>,
}

impl Outlet {
    /// An outlet that stops the reading when something cannot be written.
    pub(super) fn new(run: Run, stop: Arc<Stop>) -> Self {
        let state = State { run, next: 0, waiting: BTreeMap::new(), in_hand: 0, failed: Ok(()) };
        Self {
            state: Mutex::new(state),
            moved: Condvar::new(),
            stop,
            written: AtomicU64::new(0),
            is_finishing: AtomicBool::new(false),
        }
    }

    /// Takes a batch of so many bytes to be on its way, as soon as there is room.
    pub(super) fn take(&self, size: usize) {
        let mut state = self.lock();
        while state.in_hand > 0 && state.in_hand + size > IN_HAND {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.in_hand += size;
    }

    /// Writes a batch, and those that were waiting for it; or lets it wait. When something cannot be written, no more is read,
    /// and what has been read is still written to the other outputs.
    pub(super) fn put(&self, batch: JudgedBatch) {
        let mut state = self.lock();
        state.waiting.insert(batch.number, batch);
        let State { run, next, waiting, in_hand, failed } = &mut *state;
        while let Some(batch) = waiting.remove(next) {
            *in_hand -= batch.size;
            *next += 1;
            let written = run.write(batch, &self.written);
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
    pub(super) fn finish(&self) -> Result<(), Failure> {
        self.is_finishing.store(true, Ordering::Relaxed);
        let mut state = self.lock();
        let failed = std::mem::replace(&mut state.failed, Ok(()));
        both(failed, state.run.finish())
    }

    /// Whether a run that has been stopped comes to its end: a record is written every second, and nobody asks again.
    pub(super) fn comes_to_an_end(&self, asks_again: &mut dyn FnMut() -> bool) -> bool {
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
