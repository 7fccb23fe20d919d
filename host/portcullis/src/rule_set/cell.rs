//! A cell in which one thread replaces a rule set while others use it.
//!
//! Its atomics come from `super::sync`, so that the model checker's test (`tests/cell_model.rs`) compiles this file
//! with loom's atomics.

use super::sync::{Arc, AtomicU64, Mutex, Ordering};

/// A value that one thread replaces. Others look for a new value between two events. A value that a reader has taken
/// lives until the last reader drops it.
pub struct SwapCell<T> {
    /// Number of values published so far. Looking for a newer value costs one load.
    generation: AtomicU64,
    current: Mutex<(u64, Arc<T>)>,
}

impl<T> SwapCell<T> {
    /// Returns a cell with its first value, of generation 1.
    pub fn new(first: Arc<T>) -> Self {
        Self { generation: AtomicU64::new(1), current: Mutex::new((1, first)) }
    }

    /// Replaces the value.
    pub fn publish(&self, next: Arc<T>) {
        let before = {
            let mut current = self.current.lock().unwrap_or_else(super::sync::PoisonError::into_inner);
            let generation = current.0 + 1;
            let before = std::mem::replace(&mut *current, (generation, next));
            self.generation.store(generation, Ordering::Release);
            before
        };
        // Dropping the last reference may take a while, so it happens without the lock.
        drop(before);
    }

    /// Returns the value and updates `seen`, if its generation is newer than `seen`. Generation 0 is older than any.
    pub fn newer(&self, seen: &mut u64) -> Option<Arc<T>> {
        if self.generation.load(Ordering::Acquire) == *seen {
            return None;
        }
        let current = self.current.lock().unwrap_or_else(super::sync::PoisonError::into_inner);
        *seen = current.0;
        Some(Arc::clone(&current.1))
    }
}
