//! How a rule set takes the place of another while events flow.
//!
//! Its atomics come from `super::sync`: the model of this exchange (`tests/exchange_model.rs`) is this very file with
//! loom's in their place.

use super::sync::{Arc, AtomicU64, Mutex, Ordering};

/// A place where one thread puts what others take up between two events. What was taken stays whole for as long as
/// somebody holds it, and is dropped with the last who does.
pub struct Exchange<T> {
    /// How often something was put here: asking for news costs one load.
    generation: AtomicU64,
    current: Mutex<(u64, Arc<T>)>,
}

impl<T> Exchange<T> {
    /// With this in it, as its first generation.
    pub fn new(first: Arc<T>) -> Self {
        Self { generation: AtomicU64::new(1), current: Mutex::new((1, first)) }
    }

    /// Puts this in the place of what was there. Who looks from now on finds it.
    pub fn publish(&self, next: Arc<T>) {
        let before = {
            let mut current = self.current.lock().unwrap_or_else(super::sync::PoisonError::into_inner);
            let generation = current.0 + 1;
            let before = std::mem::replace(&mut *current, (generation, next));
            self.generation.store(generation, Ordering::Release);
            before
        };
        // Dropping the last of it may take a while: not under the lock.
        drop(before);
    }

    /// What is there, if it is newer than the generation that was seen; 0 has seen nothing.
    pub fn newer(&self, seen: &mut u64) -> Option<Arc<T>> {
        if self.generation.load(Ordering::Acquire) == *seen {
            return None;
        }
        let current = self.current.lock().unwrap_or_else(super::sync::PoisonError::into_inner);
        *seen = current.0;
        Some(Arc::clone(&current.1))
    }
}
