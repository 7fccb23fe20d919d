//! Where what the workers have judged comes together, in the order in which it was read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::failure::{Failure, both};
use super::judging::Run;
use super::worker::JudgedBatch;

/// So many bytes of batches are on their way at a time, or one batch: whoever reads waits, so that memory is bounded.
const IN_HAND: usize = 32 << 20;

/// Writes batches in their order.
pub(super) struct Outlet {
    state: Mutex<State>,
    moved: Condvar,
    stopped: AtomicBool,
    /// Records that have been written.
    written: AtomicU64,
}

struct State {
    run: Run,
    /// The batch that is written next.
    next: u64,
    /// Those that came before their turn.
    waiting: BTreeMap<u64, JudgedBatch>,
    /// How many are on their way or written.
    taken: u64,
    /// The bytes of those that are on their way.
    in_hand: usize,
    has_failed: bool,
}

impl Outlet {
    pub(super) fn new(run: Run) -> Self {
        let state = State { run, next: 0, waiting: BTreeMap::new(), taken: 0, in_hand: 0, has_failed: false };
        Self {
            state: Mutex::new(state),
            moved: Condvar::new(),
            stopped: AtomicBool::new(false),
            written: AtomicU64::new(0),
        }
    }

    /// Takes a batch of so many bytes to be on its way, as soon as there is room; unless no more are taken.
    pub(super) fn takes(&self, size: usize) -> bool {
        let mut state = self.lock();
        while state.in_hand > 0 && state.in_hand + size > IN_HAND && !self.is_stopped() {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let takes = !self.is_stopped();
        if takes {
            state.taken += 1;
            state.in_hand += size;
        }
        takes
    }

    /// Writes a batch, and those that were waiting for it; or lets it wait.
    ///
    /// # Errors
    /// Something cannot be written, and the run has ended for it: to the first who hears of it.
    pub(super) fn put(&self, batch: JudgedBatch) -> Result<(), Failure> {
        let mut state = self.lock();
        state.waiting.insert(batch.number, batch);
        let mut failed = Ok(());
        let State { run, next, waiting, in_hand, has_failed, .. } = &mut *state;
        while let Some(batch) = waiting.remove(next) {
            *in_hand -= batch.size;
            *next += 1;
            if !*has_failed {
                failed = run.write(batch, &self.written);
                *has_failed = failed.is_err();
            }
        }
        if failed.is_err() {
            self.stop();
            failed = both(failed, run.finish());
        }
        drop(state);
        self.moved.notify_all();
        failed
    }

    /// Takes no more batches.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.moved.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Ends the run when everything that is on its way has been written.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        self.lock().run.finish()
    }

    /// The same, from another thread: no more batches are taken, and those on their way are waited for, as long as a record
    /// is written every second, and nobody asks again. Afterwards nothing can be written any more; whether all was.
    pub(super) fn end(&self, asks_again: &mut dyn FnMut() -> bool) -> bool {
        self.stop();
        let (mut written, mut since) = (self.written.load(Ordering::Relaxed), Instant::now());
        while since.elapsed() < Duration::from_secs(1) && !asks_again() {
            if let Ok(mut state) = self.state.try_lock()
                && state.next == state.taken
            {
                if let Err(failure) = state.run.finish() {
                    failure.report();
                }
                // For ever: no record may follow the account.
                std::mem::forget(state);
                return true;
            }
            let now = self.written.load(Ordering::Relaxed);
            if now != written {
                (written, since) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
