//! The memory budget of batches in flight.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of the semaphores, in bytes.
const UNIT: u64 = 4 << 10;

/// The memory budget, in bytes. If there are several clients, each gets at most half of it, but always enough for the
/// largest batch.
pub(crate) struct MemoryBudget {
    all: Arc<Semaphore>,
    total: usize,
    each: usize,
    of_clients: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
}

/// A part of the budget, returned when the permit is dropped.
pub(crate) struct Permit {
    all: Arc<Semaphore>,
    client_entry: Arc<Semaphore>,
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    bytes: u64,
}

impl MemoryBudget {
    /// Returns a budget of this many bytes. `largest` is the maximum number of bytes of one batch.
    pub(crate) fn new(bytes: u64, largest: u64, clients: usize) -> Self {
        let units = |bytes: u64| usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(Semaphore::MAX_PERMITS);
        let each = if clients > 1 { units((bytes / 2).max(largest)) } else { units(bytes) };
        let total = units(bytes);
        Self { all: Arc::new(Semaphore::new(total)), total, each, of_clients: Mutex::default() }
    }

    /// Returns an empty permit for a client.
    pub(crate) fn permit(&self, client: &Arc<str>) -> Permit {
        let mut of_clients = self.of_clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client_entry = of_clients.entry(Arc::clone(client)).or_insert_with(|| Arc::new(Semaphore::new(self.each)));
        Permit { all: Arc::clone(&self.all), client_entry: Arc::clone(client_entry), permits: None, bytes: 0 }
    }

    /// Returns the bytes in use.
    pub(crate) fn used(&self) -> u64 {
        (self.total - self.all.available_permits()) as u64 * UNIT
    }
}

impl Permit {
    /// Grows to this many bytes in total. Returns whether the budget allowed it; if not, the permit stays as it was.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let needed = bytes.div_ceil(UNIT).saturating_sub(self.bytes / UNIT);
        let Ok(needed) = u32::try_from(needed) else { return false };
        if needed == 0 {
            return true;
        }
        let permits = |from: &Arc<Semaphore>| Arc::clone(from).try_acquire_many_owned(needed).ok();
        let (Some(own), Some(all)) = (permits(&self.client_entry), permits(&self.all)) else { return false };
        match &mut self.permits {
            None => self.permits = Some((own, all)),
            Some((taken, taken_of_all)) => {
                taken.merge(own);
                taken_of_all.merge(all);
            }
        }
        self.bytes += u64::from(needed) * UNIT;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_leaves_memory_for_another_and_frees_its_own() {
        let budget = MemoryBudget::new(1 << 20, 1 << 18, 2);
        let (first, second): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut permit = budget.permit(&first);
        assert!(permit.grow(1 << 19) && !permit.grow((1 << 19) + 1), "half of it, and no more");
        let mut others = budget.permit(&second);
        assert!(others.grow(1 << 19));
        assert_eq!(budget.used(), 1 << 20);
        drop(permit);
        assert_eq!(budget.used(), 1 << 19);
        assert!(budget.permit(&first).grow(100));
    }
}
