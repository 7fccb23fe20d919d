//! Answers of the app, as JSON.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::clients::Client;
use crate::ingest::{NotTaken, Refused};
use crate::registry::RegistryError;
use crate::settings::Role;

/// A request that is not answered as it was meant.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) text: String,
    /// The place in the body that is to blame.
    pub(super) place: Option<String>,
    /// After this many seconds the same request may succeed.
    retry_after: Option<u32>,
}

impl Denied {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), place: None, retry_after: None }
    }

    /// Denies a request that may succeed soon.
    pub(super) fn busy(status: StatusCode, text: &str) -> Self {
        Self { retry_after: Some(1), ..Self::new(status, text) }
    }

    /// Denies a request of a client without a role.
    pub(super) fn role(client: &Client, role: Role) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("{} may not: it needs the role {}", client.name, role.as_str()))
    }
}

impl From<Refused> for Denied {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unreadable { place, reason } => {
                let text = format!("the batch cannot be read: {reason}; none of its records was taken");
                Self { place: Some(place), ..Self::new(StatusCode::BAD_REQUEST, text) }
            }
            Refused::TooLarge(text) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, text),
        }
    }
}

impl From<NotTaken> for Denied {
    fn from(not_taken: NotTaken) -> Self {
        let busy = |text| Self::busy(StatusCode::SERVICE_UNAVAILABLE, text);
        match not_taken {
            NotTaken::Refused(refused) => refused.into(),
            NotTaken::OverBudget => busy("there is no room now for what comes of it"),
            NotTaken::NotKept(reason) => {
                tracing::error!(reason, "a batch is refused: what comes of it cannot be kept");
                busy("what comes of it cannot be kept now")
            }
            NotTaken::NotStored(reason) => {
                tracing::error!(error = reason, "a batch is refused: it cannot be stored");
                busy("it cannot be stored now")
            }
        }
    }
}

impl From<RegistryError> for Denied {
    fn from(error: RegistryError) -> Self {
        let status = match &error {
            RegistryError::Invalid(_) => StatusCode::BAD_REQUEST,
            RegistryError::Forbidden(_) => StatusCode::FORBIDDEN,
            RegistryError::NotFound(_) => StatusCode::NOT_FOUND,
            RegistryError::Conflict(_) => StatusCode::CONFLICT,
            RegistryError::NotKept(reason) => {
                tracing::error!(error = reason, "what is published cannot be kept");
                return Self::busy(StatusCode::SERVICE_UNAVAILABLE, "it cannot be kept now");
            }
        };
        Self::new(status, error.to_string())
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

/// Returns an answer of JSON with a line end.
pub(super) fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
