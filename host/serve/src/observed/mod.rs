//! What viewers see: an overview every second, rules when they change, alerts and faults at once.

mod metrics;
mod places;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

pub(crate) use metrics::{CONTENT_TYPE, Metrics};
pub(crate) use places::Place;
use places::Places;

use crate::clients::Client;
use crate::ingest::Ingest;
use crate::stats::{LiveEvent, Recent, Stats, is_visible};

/// The time between two overviews.
const TICK: Duration = Duration::from_secs(1);

/// The service as its viewers see it.
pub(crate) struct Observed {
    ingest: Arc<Ingest>,
    stats: Arc<Stats>,
    replica: Arc<str>,
    started: Instant,
    places: Places,
    /// The last frame of each tenant that is viewed, and of all.
    frames: Mutex<HashMap<Option<usize>, (Instant, Frame)>>,
}

/// What all viewers of a tenant, or of all tenants, see in one second.
#[derive(Clone)]
struct Frame {
    overview: Arc<str>,
    rules: Arc<str>,
}

/// An event for a viewer, whose data is one line of JSON.
pub(crate) struct ViewerEvent {
    pub(crate) kind: &'static str,
    pub(crate) data: Arc<str>,
}

impl ViewerEvent {
    fn of(event: &LiveEvent) -> Self {
        Self { kind: event.kind, data: Arc::clone(&event.text) }
    }
}

/// Sends the events that are newer than the newest that was sent.
async fn send_newer(events: Vec<Arc<LiveEvent>>, newest: &mut u64, sender: &mpsc::Sender<ViewerEvent>) -> Option<()> {
    for event in events {
        if event.number > *newest {
            *newest = event.number;
            sender.send(ViewerEvent::of(&event)).await.ok()?;
        }
    }
    Some(())
}

impl Observed {
    pub(crate) fn new(ingest: Arc<Ingest>, stats: Arc<Stats>, replica: Arc<str>) -> Self {
        Self { ingest, stats, replica, started: Instant::now(), places: Places::new(), frames: Mutex::default() }
    }

    /// Returns a place for a client's viewer, or the reason why there is none.
    pub(crate) fn place(&self, client: &Client) -> Result<Place, String> {
        self.places.take(client)
    }

    /// Returns the current frame. Viewers share it, so that many cost little more than one.
    fn frame(&self, tenant: Option<usize>) -> Frame {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        match frames.get(&tenant) {
            Some((made, frame)) if made.elapsed() < TICK / 2 => frame.clone(),
            _ => {
                let overview = self.overview(tenant).to_string().into();
                let frame = Frame { overview, rules: self.stats.rules(tenant).to_string().into() };
                frames.insert(tenant, (Instant::now(), frame.clone()));
                frame
            }
        }
    }

    /// Sends events to a viewer until it disconnects or the service stops. A tenant's viewer gets only the tenant's
    /// events.
    pub(crate) async fn stream(&self, tenant: Option<usize>, sender: &mpsc::Sender<ViewerEvent>) -> Option<()> {
        let Recent { events: before, further: mut live_events, .. } = self.stats.recent(tenant);
        let mut newest = 0;
        let Frame { overview, mut rules } = self.frame(tenant);
        sender.send(ViewerEvent { kind: "overview", data: overview }).await.ok()?;
        sender.send(ViewerEvent { kind: "rules", data: Arc::clone(&rules) }).await.ok()?;
        send_newer(before, &mut newest, sender).await?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = self.ingest.stopping.cancelled() => return None,
                _ = ticks.tick() => {
                    let now = self.frame(tenant);
                    sender.send(ViewerEvent { kind: "overview", data: now.overview }).await.ok()?;
                    if now.rules != rules {
                        rules = now.rules;
                        sender.send(ViewerEvent { kind: "rules", data: Arc::clone(&rules) }).await.ok()?;
                    }
                }
                event = live_events.recv() => match event {
                    Ok(event) => {
                        newest = event.number;
                        if is_visible(tenant, event.tenant) {
                            sender.send(ViewerEvent::of(&event)).await.ok()?;
                        }
                    }
                    // Events of others fill the channel too, so that perhaps none of this viewer's is lost.
                    Err(RecvError::Lagged(_)) => {
                        let Recent { events, gone, further } = self.stats.recent(tenant);
                        live_events = further;
                        if gone > newest {
                            sender.send(ViewerEvent { kind: "missed", data: "{}".into() }).await.ok()?;
                        }
                        send_newer(events, &mut newest, sender).await?;
                    }
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    /// Returns the counts and the health of the service. A tenant's viewer sees only what belongs to the tenant.
    fn overview(&self, tenant: Option<usize>) -> Value {
        let mut overview = self.stats.overview(tenant);
        let not_ready = self.ingest.not_ready();
        let mut missing: Vec<String> = match tenant {
            Some(tenant) => self.ingest.missing_rules(tenant).into_iter().collect(),
            None => (0..self.stats.names.len()).filter_map(|tenant| self.ingest.missing_rules(tenant)).collect(),
        };
        overview["version"] = env!("CARGO_PKG_VERSION").into();
        overview["replica"] = (*self.replica).into();
        overview["uptime_seconds"] = self.started.elapsed().as_secs().into();
        let is_all = tenant.is_none();
        // The service is ready for the others if one tenant has no rules.
        overview["ready"] = (not_ready.is_empty() && (is_all || missing.is_empty())).into();
        missing.extend(not_ready.into_iter().filter(|_| is_all));
        missing.sort();
        missing.dedup();
        overview["not_ready"] = missing.into();
        overview["sinks"] = if is_all { json!(self.ingest.sinks.states()) } else { json!([]) };
        if is_all {
            let (accepted, refused) = self.stats.answers();
            let in_flight = self.ingest.budget.used();
            overview["batches"] = json!({"accepted": accepted, "refused": refused, "in_flight_bytes": in_flight});
        }
        overview
    }
}
