//! Threads that judge.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

/// Returns the number of threads that judge: the one asked for, or one for each core.
#[must_use]
pub fn threads(asked: Option<NonZeroUsize>) -> NonZeroUsize {
    asked.or_else(|| available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

/// Aborts the process if the thread that holds this panics: others must not wait for what it never brings.
pub struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
