//! How much of what clients send is held at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted in.
const UNIT: u64 = 4 << 10;

/// Room for so many bytes in all; where there are several clients, no one of them takes more than half of it.
pub(super) struct Room {
    all: Arc<Semaphore>,
    total: usize,
    each: usize,
    of_clients: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
}

/// A part of the room. It is given back when this is dropped.
pub(super) struct Taken {
    all: Arc<Semaphore>,
    of_client: Arc<Semaphore>,
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    bytes: u64,
}

impl Room {
    /// `largest` is the most bytes of one delivery.
    pub(super) fn new(bytes: u64, largest: u64, clients: usize) -> Self {
        let units = |bytes: u64| usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(Semaphore::MAX_PERMITS);
        let each = if clients > 1 { units((bytes / 2).max(largest)) } else { units(bytes) };
        let total = units(bytes);
        Self { all: Arc::new(Semaphore::new(total)), total, each, of_clients: Mutex::default() }
    }

    /// Nothing of it yet.
    pub(super) fn of(&self, client: &Arc<str>) -> Taken {
        let mut of_clients = self.of_clients.lock().unwrap_or_else(PoisonError::into_inner);
        let of_client = of_clients.entry(Arc::clone(client)).or_insert_with(|| Arc::new(Semaphore::new(self.each)));
        Taken { all: Arc::clone(&self.all), of_client: Arc::clone(of_client), permits: None, bytes: 0 }
    }

    /// The bytes that are taken.
    pub(super) fn taken(&self) -> u64 {
        (self.total - self.all.available_permits()) as u64 * UNIT
    }
}

impl Taken {
    /// Takes room for so many bytes in all, if it is there. What was taken stays.
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        let needed = bytes.div_ceil(UNIT).saturating_sub(self.bytes / UNIT);
        let Ok(needed) = u32::try_from(needed) else { return false };
        if needed == 0 {
            return true;
        }
        let permits = |from: &Arc<Semaphore>| Arc::clone(from).try_acquire_many_owned(needed).ok();
        let (Some(own), Some(all)) = (permits(&self.of_client), permits(&self.all)) else { return false };
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
    fn one_client_leaves_room_for_another_and_gives_its_own_back() {
        let room = Room::new(1 << 20, 1 << 18, 2);
        let (first, second): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut taken = room.of(&first);
        assert!(taken.grow(1 << 19) && !taken.grow((1 << 19) + 1), "half of it, and no more");
        let mut others = room.of(&second);
        assert!(others.grow(1 << 19));
        assert_eq!(room.taken(), 1 << 20);
        drop(taken);
        assert_eq!(room.taken(), 1 << 19);
        assert!(room.of(&first).grow(100));
    }
}
