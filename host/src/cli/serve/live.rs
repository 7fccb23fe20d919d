//! What is seen live: figures every second, rules when they change, alerts and faults as they come, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::Stream;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::Service;
use super::figures::shows;
use super::listener::ended;
use super::routes::Denied;

/// How often figures are sent.
const TICK: Duration = Duration::from_secs(1);

/// So many may look at the same time.
const VIEWERS: usize = 64;

/// So many events wait for a viewer that is slow; what comes while they do, it may miss.
const WAITING: usize = 64;

impl Service {
    /// What a tenant's, or everybody's, viewer sees from now on.
    pub(super) fn look(
        self: &Arc<Self>,
        tenant: Option<usize>,
    ) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + use<>, Denied> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let service = Arc::clone(self);
        if self.viewers.fetch_add(1, Ordering::SeqCst) >= VIEWERS {
            self.viewers.fetch_sub(1, Ordering::SeqCst);
            return Err(Denied::busy(StatusCode::SERVICE_UNAVAILABLE, "too many look at it already"));
        }
        tokio::spawn(async move {
            service.show(tenant, &sender).await;
            service.viewers.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(futures_util::stream::unfold(receiver, async |mut receiver| Some((Ok(receiver.recv().await?), receiver))))
    }

    /// Sends events until nobody takes them any more, or the service ends.
    async fn show(&self, tenant: Option<usize>, sender: &mpsc::Sender<Bytes>) -> Option<()> {
        let (before, mut happenings) = self.figures.happenings(tenant);
        let mut rules = self.figures.rules(tenant);
        sender.send(event("overview", &self.overview(tenant).to_string())).await.ok()?;
        sender.send(event("rules", &rules.to_string())).await.ok()?;
        for happening in before {
            sender.send(event(happening.kind, &happening.text)).await.ok()?;
        }
        let mut ends = self.ends.subscribe();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = ended(&mut ends) => return None,
                _ = ticks.tick() => {
                    sender.send(event("overview", &self.overview(tenant).to_string())).await.ok()?;
                    let now = self.figures.rules(tenant);
                    if now != rules {
                        rules = now;
                        sender.send(event("rules", &rules.to_string())).await.ok()?;
                    }
                }
                happening = happenings.recv() => match happening {
                    Ok(happening) if shows(tenant, happening.tenant) => {
                        sender.send(event(happening.kind, &happening.text)).await.ok()?;
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    /// The figures, and how the service is. What is no one tenant's is shown to no tenant.
    fn overview(&self, tenant: Option<usize>) -> Value {
        let mut overview = self.figures.overview(tenant);
        let not_ready = self.not_ready();
        overview["version"] = env!("CARGO_PKG_VERSION").into();
        overview["replica"] = self.replica.as_str().into();
        overview["uptime_seconds"] = self.started.elapsed().as_secs().into();
        overview["ready"] = not_ready.is_empty().into();
        let is_all = tenant.is_none();
        overview["not_ready"] = if is_all { json!(not_ready) } else { json!([]) };
        overview["sinks"] = if is_all { json!(self.sinks.states()) } else { json!([]) };
        if is_all {
            let counted = self.figures.lock();
            let (mut accepted, mut refused) = (0, 0);
            for ((_, status), count) in &counted.deliveries {
                *(if *status == 200 { &mut accepted } else { &mut refused }) += count;
            }
            overview["deliveries"] =
                json!({"accepted": accepted, "refused": refused, "in_hand_bytes": self.room.taken()});
        }
        overview
    }
}

/// An event, whose data is one line.
fn event(kind: &str, data: &str) -> Bytes {
    format!("event: {kind}\ndata: {data}\n\n").into()
}
