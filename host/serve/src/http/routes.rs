//! The routes of the service.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};
use bytes::Bytes;
use serde_json::json;

use super::auth::{Publisher, Viewer};
use super::body::{self, Bounds};
use super::reply::{Denied, json_response};
use super::{live, page, records};
use crate::app::App;
use crate::clients::Client;
use crate::observed::CONTENT_TYPE;
use crate::registry::Publication;

/// Limit for the text of an activation, in bytes. A version of each of a thousand rules takes less.
const MAX_ACTIVATION: u64 = 64 << 10;

/// Returns the router of the service.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/live", get(live::live))
        .route("/v1/rules", get(rules))
        .route("/v1/packages/{tenant}", put(put_package))
        .route("/v1/packages/{tenant}/{file}", delete(remove_package))
        .route("/v1/activation/{tenant}", put(put_activation).delete(remove_activation))
        .route("/v1/records", post(records::post))
        .fallback(async || {
            let paths = "/, /healthz, /readyz, /metrics, /v1/live, /v1/records, /v1/rules, /v1/packages/{tenant} and \
                         /v1/activation/{tenant}";
            Denied::new(StatusCode::NOT_FOUND, format!("unknown path; expected one of {paths}"))
        })
        .method_not_allowed_fallback(async || {
            let text = "expected POST for records, PUT or DELETE for packages and activation, GET for all other paths";
            Denied::new(StatusCode::METHOD_NOT_ALLOWED, text)
        })
        .with_state(app)
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    let is_ready = app.ingest.not_ready().is_empty();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Anyone may ask this, so the reasons are not in the answer. They are in the log, on the page and in the metrics.
    (status, if is_ready { "ready\n" } else { "not ready\n" }).into_response()
}

async fn metrics(State(app): State<Arc<App>>, Viewer(client): Viewer) -> Result<Response, Denied> {
    if client.tenant.is_some() {
        let text = format!("client {} belongs to a tenant, and the metrics cover all tenants", client.name);
        return Err(Denied::new(StatusCode::FORBIDDEN, text));
    }
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], app.metrics.text()).into_response())
}

async fn rules(State(app): State<Arc<App>>, Viewer(client): Viewer) -> Response {
    let mut reports = match &app.registry.jetstream {
        Some(jetstream) => jetstream.reports().await.unwrap_or_default(),
        None => Vec::new(),
    };
    if reports.is_empty() {
        reports.push(app.stats.report(&app.replica));
    }
    if let Some(tenant) = client.tenant {
        let name = &*app.stats.names[tenant];
        for rules in reports.iter_mut().filter_map(|report| report["rules"].as_array_mut()) {
            rules.retain(|rule| rule["tenant"] == name);
        }
    }
    json_response(StatusCode::OK, &json!({"replicas": reports}))
}

async fn put_package(
    State(app): State<Arc<App>>,
    Publisher(client): Publisher,
    Path(tenant): Path<String>,
    request: Request,
) -> Result<Response, Denied> {
    let package = published(&app, &client, request, app.settings.max_body).await?;
    let put = app.registry.put_package(publication(&client, &tenant), package).await?;
    Ok(json_response(StatusCode::ACCEPTED, &put))
}

async fn remove_package(
    State(app): State<Arc<App>>,
    Publisher(client): Publisher,
    Path((tenant, file)): Path<(String, String)>,
) -> Result<Response, Denied> {
    let removed = app.registry.remove_package(publication(&client, &tenant), &file).await?;
    Ok(json_response(StatusCode::ACCEPTED, &removed))
}

async fn put_activation(
    State(app): State<Arc<App>>,
    Publisher(client): Publisher,
    Path(tenant): Path<String>,
    request: Request,
) -> Result<Response, Denied> {
    let text = published(&app, &client, request, MAX_ACTIVATION).await?;
    let text =
        String::from_utf8(text.into()).map_err(|_| Denied::new(StatusCode::BAD_REQUEST, "expected UTF-8 text"))?;
    let put = app.registry.put_activation(publication(&client, &tenant), Some(text)).await?;
    Ok(json_response(StatusCode::ACCEPTED, &put))
}

async fn remove_activation(
    State(app): State<Arc<App>>,
    Publisher(client): Publisher,
    Path(tenant): Path<String>,
) -> Result<Response, Denied> {
    let removed = app.registry.put_activation(publication(&client, &tenant), None).await?;
    Ok(json_response(StatusCode::ACCEPTED, &removed))
}

/// Reads the body of a publication, of at most this many bytes.
async fn published(app: &App, client: &Client, request: Request, most: u64) -> Result<Bytes, Denied> {
    let mut body = request.into_body();
    let mut permit = app.ingest.budget.permit(&client.name);
    let bounds = Bounds { size: most, ..records::bounds(app) };
    let read = body::read(&mut body, bounds, &mut permit).await;
    read.inspect_err(|denied| body::discard(body, denied, records::bounds(app)))
}

fn publication<'p>(client: &'p Client, tenant: &'p str) -> Publication<'p> {
    Publication { client: &client.name, only: client.tenant, tenant }
}
