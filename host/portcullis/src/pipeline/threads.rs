//! The threads that judge.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

/// Returns the number of threads that judge: the requested one, or one for each core.
#[must_use]
pub fn threads(asked: Option<NonZeroUsize>) -> NonZeroUsize {
    asked.or_else(|| available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

/// Aborts the process if the thread that holds this panics, because other threads would wait for its results for ever.
pub struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
