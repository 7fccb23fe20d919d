//! The state that all requests share.

use std::sync::{Arc, PoisonError, RwLock};

use crate::clients::Clients;
use crate::ingest::Ingest;
use crate::observed::{Metrics, Observed};
use crate::registry::Registry;
use crate::settings::Settings;
use crate::stats::Stats;

/// The parts of a service that requests use.
pub(crate) struct App {
    pub(crate) settings: Settings,
    /// The name of this process among the replicas.
    pub(crate) replica: Arc<str>,
    pub(crate) clients: RwLock<Arc<Clients>>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) observed: Arc<Observed>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) metrics: Metrics,
}

impl App {
    /// Returns the current clients.
    pub(crate) fn clients(&self) -> Arc<Clients> {
        Arc::clone(&self.clients.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the clients.
    pub(crate) fn set_clients(&self, clients: Clients) {
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(clients);
    }
}
