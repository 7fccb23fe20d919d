//! JSON answers, and the statuses of errors.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::clients::Client;
use crate::ingest::{NotTaken, OverBudget, Refused};
use crate::registry::RegistryError;
use crate::settings::Role;

/// An error answer to a request.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) text: String,
    /// The place of the error in the body.
    pub(super) place: Option<String>,
    /// The seconds after which the same request may succeed.
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

    /// Denies a request that the memory budget does not cover.
    pub(super) fn over_budget(now: StatusCode, over: OverBudget) -> Self {
        match over {
            OverBudget::Now(_) => Self::busy(now, "the memory budget is used up; try again"),
            OverBudget::Always(limit) => {
                let text = format!(
                    "the batch and its results need more than {limit} bytes, which is the client's part of in-flight; \
                     send fewer records at once"
                );
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, text)
            }
        }
    }

    /// Denies a request of a client without a role.
    pub(super) fn role(client: &Client, role: Role) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("client {} lacks the role {}", client.name, role.as_str()))
    }
}

impl From<Refused> for Denied {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unreadable { place, reason } => {
                let text = format!("the batch cannot be read: {reason}; no record of it was taken");
                Self { place: Some(place), ..Self::new(StatusCode::BAD_REQUEST, text) }
            }
            Refused::TooLarge(text) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, text),
            Refused::NotReady(text) | Refused::NotYet(text) => Self::busy(StatusCode::SERVICE_UNAVAILABLE, &text),
        }
    }
}

impl From<NotTaken> for Denied {
    fn from(not_taken: NotTaken) -> Self {
        let busy = |text| Self::busy(StatusCode::SERVICE_UNAVAILABLE, text);
        match not_taken {
            NotTaken::Refused(refused) => refused.into(),
            NotTaken::OverBudget(over) => Self::over_budget(StatusCode::SERVICE_UNAVAILABLE, over),
            NotTaken::NotKept(reason) => {
                tracing::error!(reason, "batch refused: its results cannot be stored");
                busy("the results of the batch cannot be stored now; try again")
            }
            NotTaken::NotStored(reason) => {
                tracing::error!(error = reason, "batch refused: it cannot be stored in the stream");
                busy("the batch cannot be stored now; try again")
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
            RegistryError::TooOften(after) => {
                let seconds = u32::try_from(after.as_secs() + 1).unwrap_or(u32::MAX);
                return Self {
                    retry_after: Some(seconds),
                    ..Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string())
                };
            }
            RegistryError::NotKept(reason) => {
                tracing::error!(error = reason, "publication failed");
                return Self::busy(StatusCode::SERVICE_UNAVAILABLE, "it cannot be stored now; try again");
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

/// Returns an answer with a JSON body and a line end.
pub(super) fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
