//! The memory budget of batches in flight.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The number of clients beyond which those without a permit are forgotten.
const MOST_CLIENTS: usize = 1024;

/// The unit of the semaphores, in bytes.
const UNIT: u64 = 4 << 10;

/// The reason why a permit does not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverBudget {
    /// Other batches use the memory now. This many bytes are needed.
    Now(u64),
    /// It is more than the client can ever use, which is this many bytes.
    Always(u64),
}

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
    of_client: Arc<Semaphore>,
    /// Maximum number of units of the client.
    most: usize,
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    bytes: u64,
}

impl MemoryBudget {
    /// Returns the part of each of several clients in a budget of this many bytes. `largest` is the maximum number of
    /// bytes of one batch.
    pub(crate) fn of_each(bytes: u64, largest: u64, clients: usize) -> u64 {
        if clients > 1 { (bytes / 2).max(largest) } else { bytes }
    }

    /// Returns a budget of this many bytes. `largest` is the maximum number of bytes of one batch.
    pub(crate) fn new(bytes: u64, largest: u64, clients: usize) -> Self {
        let units = |bytes: u64| usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(Semaphore::MAX_PERMITS);
        let (total, each) = (units(bytes), units(Self::of_each(bytes, largest, clients)));
        Self { all: Arc::new(Semaphore::new(total)), total, each, of_clients: Mutex::default() }
    }

    /// Returns an empty permit for a client.
    pub(crate) fn permit(&self, client: &Arc<str>) -> Permit {
        let mut of_clients = self.of_clients.lock().unwrap_or_else(PoisonError::into_inner);
        if of_clients.len() > MOST_CLIENTS {
            // A publisher to the stream names any client.
            of_clients.retain(|_, permits| Arc::strong_count(permits) > 1);
        }
        let of_client = of_clients.entry(Arc::clone(client)).or_insert_with(|| Arc::new(Semaphore::new(self.each)));
        let (all, of_client) = (Arc::clone(&self.all), Arc::clone(of_client));
        Permit { all, of_client, most: self.each, permits: None, bytes: 0 }
    }

    /// Returns the bytes in use.
    pub(crate) fn used(&self) -> u64 {
        (self.total - self.all.available_permits()) as u64 * UNIT
    }
}

impl Permit {
    /// Grows to this many bytes in total. If that is over budget, the permit stays as it was.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), OverBudget> {
        let needed = self.needed(bytes)?;
        if needed == 0 {
            return Ok(());
        }
        let permits = |from: &Arc<Semaphore>| Arc::clone(from).try_acquire_many_owned(needed);
        let own = permits(&self.of_client).map_err(|_| OverBudget::Now(bytes))?;
        let all = permits(&self.all).map_err(|_| OverBudget::Now(bytes))?;
        self.add(own, all, needed);
        Ok(())
    }

    /// Gives back what it has, and waits until it can have this many bytes. A permit that kept what it has while it
    /// waits could wait for another one that does the same.
    ///
    /// # Errors
    /// It is more than the client can ever use.
    pub(crate) async fn wait_for(&mut self, bytes: u64) -> Result<(), OverBudget> {
        (self.permits, self.bytes) = (None, 0);
        let needed = self.needed(bytes)?;
        let closed = "the semaphores are never closed";
        let own = Arc::clone(&self.of_client).acquire_many_owned(needed).await.expect(closed);
        let all = Arc::clone(&self.all).acquire_many_owned(needed).await.expect(closed);
        self.add(own, all, needed);
        Ok(())
    }

    /// Returns the number of units that are missing.
    fn needed(&self, bytes: u64) -> Result<u32, OverBudget> {
        let units = bytes.div_ceil(UNIT);
        if units > self.most as u64 {
            return Err(OverBudget::Always(self.most as u64 * UNIT));
        }
        // The number of units of a semaphore is much smaller.
        Ok(u32::try_from(units.saturating_sub(self.bytes / UNIT)).unwrap_or(u32::MAX))
    }

    fn add(&mut self, own: OwnedSemaphorePermit, all: OwnedSemaphorePermit, units: u32) {
        match &mut self.permits {
            None => self.permits = Some((own, all)),
            Some((taken, taken_of_all)) => {
                taken.merge(own);
                taken_of_all.merge(all);
            }
        }
        self.bytes += u64::from(units) * UNIT;
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
        assert_eq!(permit.grow(1 << 19), Ok(()));
        assert_eq!(permit.grow((1 << 19) + 1), Err(OverBudget::Always(1 << 19)), "half of it, and no more");
        assert_eq!(budget.permit(&first).grow(1), Err(OverBudget::Now(1)));
        let mut others = budget.permit(&second);
        assert_eq!(others.grow(1 << 19), Ok(()));
        assert_eq!(budget.used(), 1 << 20);
        drop(permit);
        assert_eq!(budget.used(), 1 << 19);
        assert_eq!(budget.permit(&first).grow(100), Ok(()));
    }

    #[tokio::test]
    async fn a_permit_that_waits_holds_nothing() {
        let budget = MemoryBudget::new(1 << 20, 1 << 18, 1);
        let client: Arc<str> = "a".into();
        let (mut first, mut second) = (budget.permit(&client), budget.permit(&client));
        assert_eq!((first.grow(1 << 19), second.grow(1 << 19)), (Ok(()), Ok(())));
        let all = first.wait_for(1 << 20);
        tokio::pin!(all);
        assert!(futures_util::poll!(all.as_mut()).is_pending());
        assert_eq!(second.wait_for(1 << 21).await, Err(OverBudget::Always(1 << 20)));
        assert_eq!(all.await, Ok(()));
    }
}
