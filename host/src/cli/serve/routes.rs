//! What can be asked over HTTP, who may, and how an answer looks.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use portcullis::config::Role;
use serde_json::{Value, json};

use super::clients::Known;
use super::{Service, metrics};

/// The page, which holds no data of its own.
const PAGE: &str = include_str!("page.html");

/// The names in a connection's certificate, if it has shown one that is trusted.
#[derive(Clone, Default)]
pub(super) struct Peer(pub(super) Arc<[String]>);

/// Why a request is not answered as it was meant.
#[derive(Debug)]
pub(super) struct Denied {
    status: StatusCode,
    text: String,
    place: Option<String>,
    /// After so many seconds it may be.
    retry_after: Option<u32>,
}

impl Denied {
    pub(super) fn new(status: StatusCode, text: String) -> Self {
        Self { status, text, place: None, retry_after: None }
    }

    /// The same, for what stands at this place.
    pub(super) fn at(self, place: String) -> Self {
        Self { place: Some(place), ..self }
    }

    /// It may be answered soon.
    pub(super) fn busy(status: StatusCode, text: &str) -> Self {
        Self { retry_after: Some(1), ..Self::new(status, text.to_owned()) }
    }

    pub(super) fn role(client: &Known, role: Role) -> Self {
        let text = format!("{} may not: it needs the role {}", client.name, role.word());
        Self::new(StatusCode::FORBIDDEN, text)
    }

    fn unknown(text: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, text.to_owned())
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let Self { status, text, place, retry_after } = self;
        let mut body = json!({"error": text});
        if let Some(place) = place {
            body["place"] = place.into();
        }
        let mut response = json_response(status, &body);
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    let text = format!("{body}\n");
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

pub(super) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .route("/v1/live", get(live))
        .route("/v1/rules", get(rules))
        .route("/v1/packages/{tenant}", put(put_package))
        .route("/v1/packages/{tenant}/{file}", delete(remove_package))
        .route("/v1/activation/{tenant}", put(put_activation).delete(remove_activation))
        .route("/v1/records", post(records))
        .fallback(async || {
            let paths = "/, /healthz, /readyz, /metrics, /v1/live, /v1/records, /v1/rules, /v1/packages/{tenant} and \
                         /v1/activation/{tenant}";
            Denied::new(StatusCode::NOT_FOUND, format!("there is nothing; there are {paths}"))
        })
        .method_not_allowed_fallback(async || {
            let text =
                "expected POST for records, PUT or DELETE for packages and activation, GET for all else".to_owned();
            Denied::new(StatusCode::METHOD_NOT_ALLOWED, text)
        })
        .with_state(service)
}

impl Service {
    /// Who asks: by the token, or where none is shown by the connection's certificate.
    fn client(&self, peer: &Peer, headers: &HeaderMap) -> Result<Arc<Known>, Denied> {
        let clients = self.clients();
        match headers.get(header::AUTHORIZATION) {
            Some(value) => {
                let bearer = |value: &HeaderValue| {
                    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
                    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
                    is_bearer.then(|| clients.by_token(token.trim()).cloned()).flatten()
                };
                bearer(value).ok_or_else(|| Denied::unknown("the token is not known"))
            }
            None => clients
                .by_certificate(&peer.0)
                .cloned()
                .ok_or_else(|| Denied::unknown("who asks? Show a bearer token, or a client certificate")),
        }
    }

    /// Who publishes something, and what.
    async fn brought(&self, peer: &Peer, request: Request) -> Result<(Arc<Known>, Vec<u8>), Denied> {
        let (head, mut body) = request.into_parts();
        let client = self.client(peer, &head.headers)?;
        if !client.may(Role::Publish) {
            return Err(Denied::role(&client, Role::Publish));
        }
        let mut room = self.room.of(&client.name);
        let bytes = self.body(&mut body, &mut room).await?;
        Ok((client, bytes))
    }

    fn viewer(&self, peer: &Peer, headers: &HeaderMap) -> Result<Arc<Known>, Denied> {
        let client = self.client(peer, headers)?;
        if client.may(Role::View) { Ok(client) } else { Err(Denied::role(&client, Role::View)) }
    }
}

async fn records(State(service): State<Arc<Service>>, Extension(peer): Extension<Peer>, request: Request) -> Response {
    let (head, mut body) = request.into_parts();
    let (name, answer) = match service.client(&peer, &head.headers) {
        Ok(client) => (Arc::clone(&client.name), service.records(&client, &head.headers, &mut body).await),
        Err(denied) => ("".into(), Err(denied)),
    };
    let response = match answer {
        Ok(receipt) => json_response(StatusCode::OK, &receipt),
        Err(denied) => {
            let (status, reason, place) = (denied.status.as_u16(), &denied.text, denied.place.as_deref());
            tracing::warn!(client = &*name, status, reason, place, "a delivery is refused");
            // Who takes too long is not waited for any longer.
            if denied.status != StatusCode::REQUEST_TIMEOUT {
                service.pass_over(body);
            }
            denied.into_response()
        }
    };
    service.figures.answered(&name, response.status().as_u16());
    response
}

async fn ready(State(service): State<Arc<Service>>) -> Response {
    let reasons = service.not_ready();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Reasons may name what is not everybody's to know: they are in the log, on the page and in the figures.
    (status, if reasons.is_empty() { "ready\n" } else { "not ready\n" }).into_response()
}

async fn figures(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Denied> {
    let client = service.viewer(&peer, &headers)?;
    if client.tenant.is_some() {
        let text = format!("{} is a tenant's: the figures are of all tenants", client.name);
        return Err(Denied::new(StatusCode::FORBIDDEN, text));
    }
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&service)).into_response())
}

async fn rules(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Denied> {
    let client = service.viewer(&peer, &headers)?;
    let mut reports = match &service.jetstream {
        Some(jetstream) => jetstream.reports().await.unwrap_or_default(),
        None => Vec::new(),
    };
    if reports.is_empty() {
        reports.push(service.report());
    }
    if let Some(tenant) = client.tenant {
        let name = &*service.figures.names[tenant];
        for rules in reports.iter_mut().filter_map(|report| report["rules"].as_array_mut()) {
            rules.retain(|rule| rule["tenant"] == name);
        }
    }
    Ok(json_response(StatusCode::OK, &json!({"replicas": reports})))
}

async fn put_package(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    Path(tenant): Path<String>,
    request: Request,
) -> Result<Response, Denied> {
    let (client, body) = service.brought(&peer, request).await?;
    Ok(json_response(StatusCode::ACCEPTED, &service.put_package(&client, &tenant, body).await?))
}

async fn remove_package(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    Path((tenant, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Denied> {
    let client = service.client(&peer, &headers)?;
    Ok(json_response(StatusCode::ACCEPTED, &service.remove_package(&client, &tenant, &file).await?))
}

async fn put_activation(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    Path(tenant): Path<String>,
    request: Request,
) -> Result<Response, Denied> {
    let (client, body) = service.brought(&peer, request).await?;
    let no_text = |_| Denied::new(StatusCode::BAD_REQUEST, "it is no text".to_owned());
    let text = String::from_utf8(body).map_err(no_text)?;
    Ok(json_response(StatusCode::ACCEPTED, &service.put_activation(&client, &tenant, Some(text)).await?))
}

async fn remove_activation(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Denied> {
    let client = service.client(&peer, &headers)?;
    Ok(json_response(StatusCode::ACCEPTED, &service.put_activation(&client, &tenant, None).await?))
}

async fn live(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Denied> {
    let client = service.viewer(&peer, &headers)?;
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Some proxies keep what they pass on.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(service.look(client.tenant)?)).into_response())
}

async fn page() -> Result<Response, Denied> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Denied::new(StatusCode::INTERNAL_SERVER_ERROR, format!("no random numbers: {error}")))?;
    let nonce = BASE64_STANDARD.encode(random);
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, PAGE.replace("__NONCE__", &nonce)).into_response())
}
