//! `GET /v1/live`: live events for a viewer, as server-sent events.

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
use crate::observed::ViewerEvent;

/// Number of events that wait for a slow viewer. Beyond it, the viewer may miss some.
const WAITING: usize = 16;

pub(super) async fn live(State(app): State<Arc<App>>, Viewer(client): Viewer) -> Result<Response, Denied> {
    let place = app.observed.place(&client).map_err(|why| Denied::busy(StatusCode::SERVICE_UNAVAILABLE, &why))?;
    let (sender, receiver) = mpsc::channel::<ViewerEvent>(WAITING);
    let observed = Arc::clone(&app.observed);
    let tenant = client.tenant;
    tokio::spawn(async move {
        observed.stream(tenant, &sender).await;
        drop(place);
    });
    let next = async |mut receiver: mpsc::Receiver<ViewerEvent>| Some((receiver.recv().await?, receiver));
    let events = futures_util::stream::unfold(receiver, next);
    let events =
        events.map(|ViewerEvent { kind, data }| Ok::<_, Infallible>(Event::default().event(kind).data(&*data)));
    // Without this header, some proxies buffer the events.
    Ok(([(HeaderName::from_static("x-accel-buffering"), "no")], Sse::new(events)).into_response())
}
