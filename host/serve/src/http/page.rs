//! `GET /`: the live page, which contains no data itself.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::reply::Denied;

const PAGE: &str = include_str!("page.html");

/// Returns the page. A nonce lets only its own script and style run.
pub(super) async fn page() -> Result<Response, Denied> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| {
        Denied::new(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot get random numbers: {error}"))
    })?;
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
