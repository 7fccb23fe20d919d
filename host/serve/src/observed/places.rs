//! The places of viewers: a client has a few, and operators have some that no tenant can take.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clients::Client;

/// Maximum number of viewers at once who belong to tenants, and of those who see all tenants.
const OF_TENANTS: usize = 48;
const OF_OPERATORS: usize = 16;

/// Maximum number of viewers at once who use one client's token or certificate.
const OF_CLIENT: usize = 8;

/// The places of all viewers.
pub(super) struct Places {
    tenants: Arc<Semaphore>,
    operators: Arc<Semaphore>,
    by_client: Mutex<HashMap<Arc<str>, usize>>,
}

/// A viewer's place, which is free again when this is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    client: Arc<str>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            tenants: Arc::new(Semaphore::new(OF_TENANTS)),
            operators: Arc::new(Semaphore::new(OF_OPERATORS)),
            by_client: Mutex::default(),
        })
    }

    /// Returns a place for a client's viewer.
    ///
    /// # Errors
    /// There is none, for this reason.
    pub(super) fn take(self: &Arc<Self>, client: &Client) -> Result<Place, String> {
        let of_all = if client.tenant.is_some() { &self.tenants } else { &self.operators };
        let permit =
            Arc::clone(of_all).try_acquire_owned().map_err(|_| "too many viewers; try again later".to_owned())?;
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = by_client.entry(Arc::clone(&client.name)).or_default();
        if *taken == OF_CLIENT {
            return Err(format!("client {} has {OF_CLIENT} viewers already; close one of them", client.name));
        }
        *taken += 1;
        drop(by_client);
        Ok(Place { places: Arc::clone(self), client: Arc::clone(&client.name), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_client = self.places.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = by_client.get_mut(&self.client) {
            *taken -= 1;
            if *taken == 0 {
                by_client.remove(&self.client);
            }
        }
    }
}
