//! Shares of something of which each holder may have only so many at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// The shares that are taken, by holder.
pub(crate) struct Shares<K> {
    /// Maximum number of shares of one holder.
    pub(crate) most: usize,
    taken: Mutex<HashMap<K, usize>>,
}

/// A share, which is free again when this is dropped.
pub(crate) struct Share<K: Eq + Hash> {
    shares: Arc<Shares<K>>,
    holder: K,
    /// How many its holder had when it was taken, with this one.
    pub(crate) number: usize,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// Returns shares of which one holder may have at most this many.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// Takes a share, unless its holder has too many.
    pub(crate) fn take(self: &Arc<Self>, holder: K) -> Option<Share<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let number = taken.get(&holder).map_or(1, |taken| taken + 1);
        if number > self.most {
            return None;
        }
        taken.insert(holder.clone(), number);
        Some(Share { shares: Arc::clone(self), holder, number })
    }

    /// Returns whether no share is taken.
    #[cfg(test)]
    pub(crate) fn are_free(&self) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.holder);
            }
        }
    }
}
