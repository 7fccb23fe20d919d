//! The HTTP endpoint of a webhook.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::{Request, StatusCode, header};
use jiff::Timestamp;

use super::{Answer, Endpoint};
use crate::http_client::{HttpClient, read_line};
use crate::settings::WebhookSettings;
use crate::storage::LineId;

/// Statuses below 500 after which an alert is tried again, because an operator may fix a token or an address.
const RETRIED: [u16; 7] = [401, 403, 404, 407, 408, 425, 429];

/// An HTTP endpoint.
pub(in crate::sinks) struct HttpEndpoint {
    /// The endpoint's scheme, host and port.
    host: String,
    webhook: WebhookSettings,
    client: HttpClient,
}

impl HttpEndpoint {
    /// Returns the endpoint of these settings.
    ///
    /// # Errors
    /// A file of the settings cannot be read. So it is reported at the start, not with the first alert.
    pub(in crate::sinks) fn new(webhook: &WebhookSettings) -> anyhow::Result<Self> {
        webhook.authorization_file.as_deref().map(read_line).transpose()?;
        let client = HttpClient::new(webhook.ca.as_deref())?;
        Ok(Self { host: host(&webhook.url), webhook: webhook.clone(), client })
    }

    async fn send(&self, alerts: &[&str]) -> Answer {
        let (body, content_type) = match alerts {
            [alert] if self.webhook.alerts_per_request == 1 => ((*alert).to_owned(), "application/json"),
            alerts => {
                let lines = alerts.iter().map(|alert| format!("{alert}\n"));
                (lines.collect(), "application/x-ndjson")
            }
        };
        let mut request = Request::post(&self.webhook.url).header(header::CONTENT_TYPE, content_type);
        if let [alert] = alerts {
            // The key lets the endpoint recognize an alert that is posted again after a crash.
            let id = LineId::in_json(&serde_json::from_str(alert).unwrap_or_default());
            request = request.header("Idempotency-Key", id.map(|id| id.to_string()).unwrap_or_default());
        }
        // Read for each request, so that a new value takes effect.
        match self.webhook.authorization_file.as_deref().map(read_line).transpose() {
            Ok(Some(authorization)) => request = request.header(header::AUTHORIZATION, authorization),
            Ok(None) => {}
            Err(error) => return Answer::Retry(format!("{error:#}"), None),
        }
        let request = match request.body(Full::new(Bytes::from(body))) {
            Ok(request) => request,
            Err(error) => return Answer::Retry(format!("{}: invalid request: {error}", self.host), None),
        };
        match self.client.send(request).await {
            Ok(answer) => {
                let asked = answer.headers().get(header::RETRY_AFTER);
                let asked = asked.and_then(|asked| retry_after(asked.to_str().ok()?, Timestamp::now()));
                judge_answer(&self.host, answer.status(), asked)
            }
            Err(error) => Answer::Retry(format!("{}: {error:#}", self.host), None),
        }
    }
}

impl Endpoint for HttpEndpoint {
    fn post<'a>(&'a self, alerts: &'a [&'a str]) -> BoxFuture<'a, Answer> {
        self.send(alerts).boxed()
    }

    fn at_once(&self) -> usize {
        self.webhook.alerts_per_request
    }
}

/// Returns what an endpoint's status means. `asked` is its `Retry-After`.
fn judge_answer(host: &str, status: StatusCode, asked: Option<Duration>) -> Answer {
    let reason = || format!("{host} answered {status}");
    if status.is_success() {
        Answer::Taken
    } else if status.is_server_error() || RETRIED.contains(&status.as_u16()) {
        Answer::Retry(reason(), asked)
    } else {
        Answer::Refused(reason())
    }
}

/// Returns the time that a header `Retry-After` asks for: a number of seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// Returns the scheme, host and port of a URL. For many endpoints, the rest of the URL is a secret.
fn host(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_final_only_if_no_operator_can_fix_it() {
        let judged = |status: u16| judge_answer("https://soc", StatusCode::from_u16(status).expect("a status"), None);
        for status in [200, 202, 204] {
            assert_eq!(judged(status), Answer::Taken);
        }
        for status in [401, 403, 404, 407, 408, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(judged(status), Answer::Retry(_, None)), "{status}");
        }
        for status in [301, 307, 400, 405, 410, 413, 415, 422] {
            assert!(matches!(judged(status), Answer::Refused(_)), "{status}");
        }
    }

    #[test]
    fn an_endpoint_asks_for_seconds_or_for_a_date() {
        let now: Timestamp = "2026-11-27T19:00:00Z".parse().expect("a time");
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        assert_eq!(retry_after("Fri, 27 Nov 2026 19:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Fri, 27 Nov 2026 18:00:00 GMT", now), Some(Duration::ZERO), "it has passed");
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn only_scheme_host_and_port_of_an_endpoint_are_shown() {
        assert_eq!(host("https://user:secret@soc.example:8443/hook/secret?token=secret"), "https://soc.example:8443");
        assert_eq!(host("http://soc.example"), "http://soc.example");
    }
}
