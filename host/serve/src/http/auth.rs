//! Extracts the client of a request, and checks its role.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};

use super::reply::Denied;
use crate::app::App;
use crate::clients::Client;
use crate::settings::Role;

/// The names in the client certificate of a connection, if it has sent a trusted one.
#[derive(Clone, Default)]
pub(super) struct Peer(pub(super) Arc<[String]>);

/// Extracts the client of a request: by its token, or without a token by the connection's certificate.
pub(super) struct Authenticated(pub(super) Arc<Client>);

/// Extracts a client with the role `view`.
pub(super) struct Viewer(pub(super) Arc<Client>);

/// Extracts a client with the role `publish`.
pub(super) struct Publisher(pub(super) Arc<Client>);

impl FromRequestParts<Arc<App>> for Authenticated {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Denied> {
        let unknown = |text: &str| Denied::new(StatusCode::UNAUTHORIZED, text);
        let clients = app.clients();
        if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
            let bearer = |value: &HeaderValue| {
                let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
                let is_bearer = scheme.eq_ignore_ascii_case("bearer");
                is_bearer.then(|| clients.by_token(token.trim()).cloned()).flatten()
            };
            return bearer(value).map(Self).ok_or_else(|| unknown("unknown token"));
        }
        let peer = parts.extensions.get::<Peer>().cloned().unwrap_or_default();
        let client = clients.by_certificate(&peer.0).cloned().map(Self);
        client.ok_or_else(|| unknown("expected a bearer token or a client certificate of a known client"))
    }
}

impl FromRequestParts<Arc<App>> for Viewer {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Denied> {
        with_role(parts, app, Role::View).await.map(Self)
    }
}

impl FromRequestParts<Arc<App>> for Publisher {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Denied> {
        with_role(parts, app, Role::Publish).await.map(Self)
    }
}

async fn with_role(parts: &mut Parts, app: &Arc<App>, role: Role) -> Result<Arc<Client>, Denied> {
    let Authenticated(client) = Authenticated::from_request_parts(parts, app).await?;
    if client.may(role) { Ok(client) } else { Err(Denied::role(&client, role)) }
}
