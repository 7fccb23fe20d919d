//! Where what the workers have judged comes together, in the order in which it was read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::judging::Run;
use super::worker::JudgedBatch;

/// Writes batches in their order. Who is far ahead of the others waits, so that memory is bounded.
pub(super) struct Outlet {
    state: Mutex<State>,
    moved: Condvar,
    /// How far ahead of what is written a batch may be.
    ahead: u64,
    stopped: AtomicBool,
}

struct State {
    run: Run,
    /// The batch that is written next.
    next: u64,
    /// Those that came before their turn.
    waiting: BTreeMap<u64, JudgedBatch>,
    /// How many are on their way or written.
    taken: u64,
    failed: Result<(), Failure>,
}

impl Outlet {
    pub(super) fn new(run: Run, workers: usize) -> Self {
        let state = State { run, next: 0, waiting: BTreeMap::new(), taken: 0, failed: Ok(()) };
        let ahead = 4 * workers as u64;
        Self { state: Mutex::new(state), moved: Condvar::new(), ahead, stopped: AtomicBool::new(false) }
    }

    /// Says that a batch is on its way, unless no more are taken.
    pub(super) fn takes_another(&self) -> bool {
        let mut state = self.lock();
        let takes = !self.is_stopped();
        state.taken += u64::from(takes);
        takes
    }

    /// Writes a batch, and those that were waiting for it; or lets it wait.
    pub(super) fn put(&self, batch: JudgedBatch) {
        let mut state = self.lock();
        while batch.number >= state.next + self.ahead && state.failed.is_ok() {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.insert(batch.number, batch);
        let State { run, next, waiting, failed, .. } = &mut *state;
        while let Some(batch) = waiting.remove(next) {
            if failed.is_ok() {
                *failed = run.write(batch);
            }
            *next += 1;
        }
        if failed.is_err() {
            self.stop();
        }
        drop(state);
        self.moved.notify_all();
    }

    /// Writes nothing any more.
    pub(super) fn fail(&self, failure: Failure) {
        let mut state = self.lock();
        state.failed = Err(failure);
        self.stop();
        drop(state);
        self.moved.notify_all();
    }

    /// Takes no more batches.
    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Ends the run when everything that is on its way has been written; what went wrong with writing.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        let mut state = self.lock();
        let failed = std::mem::replace(&mut state.failed, Ok(()));
        let finished = state.run.finish();
        super::failure::both(failed, finished)
    }

    /// The same, from another thread: no more batches are taken, and those on their way are waited for, as long as one
    /// of them is written every second. Afterwards nothing can be written any more; whether all was.
    pub(super) fn end(&self) -> bool {
        self.stop();
        let mut last = (None, Instant::now());
        while last.1.elapsed() < Duration::from_secs(1) {
            if let Ok(mut state) = self.state.try_lock() {
                if state.next == state.taken {
                    if let Err(failure) = state.run.finish() {
                        failure.report();
                    }
                    // For ever: no record may follow the account.
                    std::mem::forget(state);
                    return true;
                }
                if last.0 != Some(state.next) {
                    last = (Some(state.next), Instant::now());
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
