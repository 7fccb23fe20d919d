//! What viewers see: an overview every second, rules when they change, alerts and faults at once.

mod metrics;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval};

pub(crate) use metrics::{CONTENT_TYPE, Metrics};

use crate::ingest::Ingest;
use crate::stats::{Stats, is_visible};

/// The time between two overviews.
const TICK: Duration = Duration::from_secs(1);

/// Maximum number of viewers at once.
const VIEWERS: usize = 64;

/// The service as its viewers see it.
pub(crate) struct Observed {
    ingest: Arc<Ingest>,
    stats: Arc<Stats>,
    replica: Arc<str>,
    started: Instant,
    viewers: Arc<Semaphore>,
}

/// An event for a viewer, whose data is one line of JSON.
pub(crate) struct ViewerEvent {
    pub(crate) kind: &'static str,
    pub(crate) data: Arc<str>,
}

impl ViewerEvent {
    fn new(kind: &'static str, data: &Value) -> Self {
        Self { kind, data: data.to_string().into() }
    }
}

impl Observed {
    pub(crate) fn new(ingest: Arc<Ingest>, stats: Arc<Stats>, replica: Arc<str>) -> Self {
        Self { ingest, stats, replica, started: Instant::now(), viewers: Arc::new(Semaphore::new(VIEWERS)) }
    }

    /// Returns a permit for a viewer, if there are not too many.
    pub(crate) fn viewer(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.viewers).try_acquire_owned().ok()
    }

    /// Sends events to a viewer until it disconnects or the service stops. A tenant's viewer gets only the tenant's
    /// events.
    pub(crate) async fn stream(&self, tenant: Option<usize>, sender: &mpsc::Sender<ViewerEvent>) -> Option<()> {
        let (before, mut live_events) = self.stats.live_events(tenant);
        let mut rules = self.stats.rules(tenant);
        sender.send(ViewerEvent::new("overview", &self.overview(tenant))).await.ok()?;
        sender.send(ViewerEvent::new("rules", &rules)).await.ok()?;
        for event in before {
            sender.send(ViewerEvent { kind: event.kind, data: Arc::clone(&event.text) }).await.ok()?;
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = self.ingest.stopping.cancelled() => return None,
                _ = ticks.tick() => {
                    sender.send(ViewerEvent::new("overview", &self.overview(tenant))).await.ok()?;
                    let now = self.stats.rules(tenant);
                    if now != rules {
                        rules = now;
                        sender.send(ViewerEvent::new("rules", &rules)).await.ok()?;
                    }
                }
                event = live_events.recv() => match event {
                    Ok(event) if is_visible(tenant, event.tenant) => {
                        sender.send(ViewerEvent { kind: event.kind, data: Arc::clone(&event.text) }).await.ok()?;
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    /// Returns the counts and the health of the service. A tenant's viewer sees only what belongs to the tenant.
    fn overview(&self, tenant: Option<usize>) -> Value {
        let mut overview = self.stats.overview(tenant);
        let not_ready = self.ingest.not_ready();
        overview["version"] = env!("CARGO_PKG_VERSION").into();
        overview["replica"] = (*self.replica).into();
        overview["uptime_seconds"] = self.started.elapsed().as_secs().into();
        overview["ready"] = not_ready.is_empty().into();
        let is_all = tenant.is_none();
        overview["not_ready"] = if is_all { json!(not_ready) } else { json!([]) };
        overview["sinks"] = if is_all { json!(self.ingest.sinks.states()) } else { json!([]) };
        if is_all {
            let (accepted, refused) = self.stats.answers();
            let in_flight = self.ingest.budget.used();
            overview["batches"] = json!({"accepted": accepted, "refused": refused, "in_flight_bytes": in_flight});
        }
        overview
    }
}
