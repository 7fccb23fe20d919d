//! What is known of the last keys.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

/// The values of the last keys.
pub(super) struct Recent<K, V> {
    pub(super) values: HashMap<K, V>,
    /// The keys in the order in which they came.
    order: VecDeque<K>,
    /// Keys that were removed, and are still in the order.
    removed: HashSet<K>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), removed: HashSet::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// Sets the value of a key, and drops the oldest key beyond `most`. Returns the previous value.
    pub(super) fn set(&mut self, key: K, value: V, most: usize) -> Option<V> {
        let before = self.values.insert(key.clone(), value);
        if before.is_none() && !self.removed.remove(&key) {
            self.order.push_back(key);
        }
        while self.order.len() > most
            && let Some(oldest) = self.order.pop_front()
        {
            self.removed.remove(&oldest);
            self.values.remove(&oldest);
        }
        before
    }

    pub(super) fn remove(&mut self, key: &K) {
        if self.values.remove(key).is_some() {
            self.removed.insert(key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_ids_are_dropped() {
        let mut recent = Recent::default();
        for key in 0..10 {
            assert!(recent.set(key, (), 8).is_none());
        }
        assert!(recent.set(9, (), 8).is_some(), "the last ones are known");
        recent.remove(&9);
        assert!(recent.set(9, (), 8).is_none(), "a key that was removed is new again");
        assert!(recent.set(0, (), 8).is_none(), "the first ones were dropped");
        assert_eq!(recent.order.len(), 8);
    }
}
