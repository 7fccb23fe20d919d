//! `GET /v1/live`: what a viewer sees, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::auth::Viewer;
use super::reply::Denied;
use crate::app::App;
use crate::observed::Seen;

/// Number of events that wait for a slow viewer. It may miss what comes while they wait.
const WAITING: usize = 64;

pub(super) async fn live(State(app): State<Arc<App>>, Viewer(client): Viewer) -> Result<Response, Denied> {
    let place = app
        .observed
        .viewer()
        .ok_or_else(|| Denied::busy(StatusCode::SERVICE_UNAVAILABLE, "too many look at it already"))?;
    let (sender, receiver) = mpsc::channel::<Seen>(WAITING);
    let observed = Arc::clone(&app.observed);
    let tenant = client.tenant;
    tokio::spawn(async move {
        observed.show(tenant, &sender).await;
        drop(place);
    });
    let next = async |mut receiver: mpsc::Receiver<Seen>| Some((receiver.recv().await?, receiver));
    let events = futures_util::stream::unfold(receiver, next);
    let events = events.map(|Seen { kind, data }| Ok::<_, Infallible>(Event::default().event(kind).data(&*data)));
    // Some proxies hold back what they pass on.
    Ok(([(HeaderName::from_static("x-accel-buffering"), "no")], Sse::new(events)).into_response())
}
