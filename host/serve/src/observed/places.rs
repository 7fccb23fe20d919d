//! The places of viewers: a client has a few, and operators have some that no tenant can take.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clients::Client;
use crate::shares::{Share, Shares};

/// Maximum number of viewers at once who belong to tenants, and of those who see all tenants.
const OF_TENANTS: usize = 48;
const OF_OPERATORS: usize = 16;

/// Maximum number of viewers at once who use one client's token or certificate.
const OF_CLIENT: usize = 8;

/// The places of all viewers.
pub(super) struct Places {
    tenants: Arc<Semaphore>,
    operators: Arc<Semaphore>,
    by_client: Arc<Shares<Arc<str>>>,
}

/// A viewer's place, which is free again when this is dropped.
pub(crate) struct Place(#[expect(dead_code, reason = "it is held")] (OwnedSemaphorePermit, Share<Arc<str>>));

impl Places {
    pub(super) fn new() -> Self {
        Self {
            tenants: Arc::new(Semaphore::new(OF_TENANTS)),
            operators: Arc::new(Semaphore::new(OF_OPERATORS)),
            by_client: Shares::new(OF_CLIENT),
        }
    }

    /// Returns a place for a client's viewer.
    ///
    /// # Errors
    /// There is none, for this reason.
    pub(super) fn take(&self, client: &Client) -> Result<Place, String> {
        let of_all = if client.tenant.is_some() { &self.tenants } else { &self.operators };
        let permit =
            Arc::clone(of_all).try_acquire_owned().map_err(|_| "too many viewers; try again later".to_owned())?;
        let of_client = self
            .by_client
            .take(Arc::clone(&client.name))
            .ok_or_else(|| format!("client {} has {OF_CLIENT} viewers already; close one of them", client.name))?;
        Ok(Place((permit, of_client)))
    }
}
