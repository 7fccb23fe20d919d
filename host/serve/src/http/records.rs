//! `POST /v1/records`: takes a batch.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::auth::Authenticated;
use super::body::{self, Bounds};
use super::reply::{Denied, json_response};
use crate::app::App;
use crate::clients::Client;
use crate::ingest::ClientBatch;
use crate::settings::Role;

/// The encodings that a batch may have.
const ENCODINGS: [&str; 4] = ["gzip", "x-gzip", "zstd", "identity"];

pub(super) async fn post(
    State(app): State<Arc<App>>,
    client: Result<Authenticated, Denied>,
    request: Request,
) -> Response {
    let (head, mut body) = request.into_parts();
    let (name, answer) = match client {
        Ok(Authenticated(client)) => (Arc::clone(&client.name), take(&app, &client, &head.headers, &mut body).await),
        Err(denied) => ("".into(), Err(denied)),
    };
    let response = match answer {
        Ok(receipt) => json_response(StatusCode::OK, &receipt),
        Err(denied) => {
            let (status, reason, place) = (denied.status.as_u16(), &denied.text, denied.place.as_deref());
            tracing::warn!(client = &*name, status, reason, place, "batch refused");
            body::discard(body, &denied, bounds(&app));
            denied.into_response()
        }
    };
    app.stats.answered(&name, response.status().as_u16());
    response
}

/// Returns the bounds of a batch.
pub(super) fn bounds(app: &App) -> Bounds {
    Bounds { size: app.settings.max_body, time: app.settings.timeout }
}

async fn take(app: &Arc<App>, client: &Arc<Client>, headers: &HeaderMap, body: &mut Body) -> Result<Value, Denied> {
    let ingest = &app.ingest;
    if ingest.stopping.is_cancelled() {
        let text = "the service is shutting down; send the batch again";
        return Err(Denied::busy(StatusCode::SERVICE_UNAVAILABLE, text));
    }
    if ingest.jetstream.as_ref().is_some_and(|jetstream| !jetstream.settings.ingest) {
        let text = "this replica takes batches only from the stream (ingest = false in [serve.jetstream])";
        return Err(Denied::new(StatusCode::NOT_FOUND, text));
    }
    if !client.may(Role::Ingest) {
        return Err(Denied::role(client, Role::Ingest));
    }
    // The body's first bytes decide how it is decompressed. The header only rules out encodings that are not supported.
    let encoding = headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.to_str().unwrap_or("unknown"));
    let is_known = |encoding: &str| ENCODINGS.iter().any(|known| known.eq_ignore_ascii_case(encoding));
    if let Some(encoding) = encoding.filter(|encoding| !is_known(encoding)) {
        let text = format!("unsupported Content-Encoding {encoding}; expected gzip, zstd or identity");
        return Err(Denied::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let mut permit = ingest.budget.permit(&client.name);
    let body = body::read(body, bounds(app), &mut permit).await?;
    let batch = ClientBatch { client: Arc::clone(&client.name), tenant: client.tenant, body, permit };
    // A separate task goes on if the client disconnects, so that everything that is judged is also counted.
    let ingest = Arc::clone(ingest);
    let taken = tokio::spawn(async move { ingest.take(batch).await }).await;
    let failed = |_| Denied::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error: judging the batch failed");
    taken.map_err(failed)?.map_err(Denied::from)
}
