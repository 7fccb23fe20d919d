//! How often each tenant's rules may change. Every change adds to the history, the log and the folder.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Changes that may come at once.
const AT_ONCE: u32 = 1_000;

/// The time after which one more may come.
const EACH: Duration = Duration::from_secs(4);

/// The changes of each tenant.
pub(crate) struct Changes(Mutex<Vec<Option<Instant>>>);

impl Changes {
    /// Returns the changes of this many tenants, none of which has made one.
    pub(crate) fn new(tenants: usize) -> Self {
        Self(Mutex::new(vec![None; tenants]))
    }

    /// Counts a change of a tenant. If there were too many, returns the time after which the next one may come.
    pub(super) fn take(&self, tenant: usize, now: Instant) -> Result<(), Duration> {
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The time at which all changes may come again.
        let until = &mut tenants[tenant];
        let next = until.filter(|until| *until > now).unwrap_or(now) + EACH;
        match next.duration_since(now).checked_sub(EACH * AT_ONCE) {
            Some(over) if !over.is_zero() => Err(over),
            _ => {
                *until = Some(next);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_changes_its_rules_too_often_waits_and_others_do_not() {
        let (changes, now) = (Changes::new(2), Instant::now());
        assert!((0..AT_ONCE).all(|_| changes.take(0, now).is_ok()));
        assert_eq!(changes.take(0, now), Err(EACH));
        assert_eq!(changes.take(0, now + EACH / 2), Err(EACH / 2));
        assert_eq!(changes.take(1, now), Ok(()));
        assert_eq!(changes.take(0, now + EACH), Ok(()));
        assert_eq!(changes.take(0, now + EACH), Err(EACH));
        let later = now + 2 * EACH * AT_ONCE;
        assert_eq!((0..2 * AT_ONCE).filter(|_| changes.take(0, later).is_ok()).count(), 1_000);
    }
}
