//! The client's side of `GET /v1/rules`.

use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header};
use serde_json::Value;
use tokio::runtime::Builder;

use crate::error::ServeError;
use crate::http_client::{HttpClient, read_line};

/// Asks a service which rules each of its replicas runs. Returns the replicas as `GET /v1/rules` lists them.
///
/// # Errors
/// The token cannot be read, the service does not answer, or it refuses.
pub fn rules_of_replicas(server: &str, token_file: &Path, ca: Option<&Path>) -> Result<Vec<Value>, ServeError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| ServeError::Io(error.into()))?;
    runtime.block_on(ask(server, token_file, ca)).map_err(ServeError::Io)
}

async fn ask(server: &str, token_file: &Path, ca: Option<&Path>) -> anyhow::Result<Vec<Value>> {
    let token = read_line(token_file)?;
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("{}: invalid token; expected visible ASCII characters without spaces", token_file.display());
    }
    let url = format!("{}/v1/rules", server.trim_end_matches('/'));
    let request = Request::get(&url).header(header::AUTHORIZATION, format!("Bearer {token}"));
    let request = request.body(Full::<Bytes>::default()).with_context(|| url.clone())?;
    let answer = HttpClient::new(ca)?.send(request).await.with_context(|| url.clone())?;
    let status = answer.status();
    let text = String::from_utf8_lossy(answer.body());
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    if !status.is_success() {
        return Err(anyhow!("{url} answered {status}: {}", body["error"].as_str().unwrap_or(text.trim())));
    }
    let replicas = body["replicas"].as_array().cloned();
    replicas.with_context(|| format!("{url}: unexpected answer; expected a Portcullis service: {text}"))
}
