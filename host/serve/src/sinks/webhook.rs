//! A sink that is an HTTP endpoint. Alerts wait on the disk until the endpoint has taken them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::{Request, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use portcullis::pipeline::LedgerLine;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{Health, Sink};
use crate::backoff::{FIRST_PAUSE, LONGEST_PAUSE, pause_after};
use crate::http_client::{HttpClient, read_line};
use crate::settings::WebhookSettings;
use crate::sink_alert::SinkAlert;
use crate::storage::spool::{self, SpoolHandle, SpoolReader};
use crate::storage::{AlertId, AppendLog, Line, NotWritten};

/// Statuses below 500 after which an alert is tried again, because an operator may fix a token or an address.
const RETRIED: [u16; 7] = [401, 403, 404, 407, 408, 425, 429];

/// The shortest pause.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// An HTTP endpoint.
pub(super) struct WebhookSink {
    ocsf: bool,
    spool: AppendLog,
    handle: SpoolHandle,
    problem: Arc<Mutex<Option<String>>>,
}

/// The thread that posts.
struct Poster {
    sink: String,
    /// The endpoint's scheme, host and port.
    host: String,
    webhook: WebhookSettings,
    client: HttpClient,
    runtime: Handle,
    alerts: SpoolReader,
    dead_letters: AppendLog,
    problem: Arc<Mutex<Option<String>>>,
}

/// The result of a request.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Taken,
    /// Try again, after this time if the endpoint asks for it.
    Retry(String, Option<Duration>),
    /// The endpoint will never take it.
    Refused(String),
}

impl WebhookSink {
    /// Starts to post the alerts that wait in this folder, and those to come. Requests run on the current runtime.
    pub(super) fn start(
        name: &str,
        ocsf: bool,
        webhook: &WebhookSettings,
        folder: &Path,
        dead_letters: AppendLog,
    ) -> anyhow::Result<Self> {
        let cannot = || format!("{}: cannot be opened", folder.display());
        let (writer, alerts, handle, past) = spool::open(folder, webhook.spool).with_context(cannot)?;
        let spool = AppendLog::start(folder.display().to_string(), Box::new(writer), past).with_context(cannot)?;
        // Reports a missing file at the start, not with the first alert.
        webhook.authorization_file.as_deref().map(read_line).transpose()?;
        let problem = Arc::default();
        let poster = Poster {
            sink: name.to_owned(),
            host: host(&webhook.url),
            webhook: webhook.clone(),
            client: HttpClient::new(webhook.ca.as_deref())?,
            runtime: Handle::current(),
            alerts,
            dead_letters,
            problem: Arc::clone(&problem),
        };
        std::thread::Builder::new().name("portcullis-webhook".to_owned()).spawn(move || poster.run())?;
        Ok(Self { ocsf, spool, handle, problem })
    }
}

impl Sink for WebhookSink {
    fn put<'a>(&'a self, alerts: &'a [SinkAlert]) -> BoxFuture<'a, Result<(), NotWritten>> {
        let now = Timestamp::now().as_millisecond();
        let line = |alert: &SinkAlert| Line::Once(alert.id, format!("{now} {}", alert.text(self.ocsf)).into());
        self.spool.append(alerts.iter().map(line).collect()).boxed()
    }

    fn health(&self) -> Health {
        Health {
            refuses: self.spool.problem(),
            stuck: self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            waiting: self.handle.bytes(),
        }
    }

    /// Stops the posting. Alerts that wait are posted after the next start.
    fn close(&self) {
        self.handle.close();
    }
}

/// Returns the scheme, host and port of a URL. For many endpoints, the rest of the URL is a secret.
fn host(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    format!("{scheme}://{host}")
}

impl Poster {
    fn run(mut self) {
        let mut failures: u64 = 0;
        // Number of alerts to post one by one: most alerts of a refused request may be accepted alone.
        let mut alone: usize = 0;
        loop {
            let batch = if alone > 0 { 1 } else { self.webhook.alerts_per_request };
            let lines = match self.alerts.next(batch) {
                Ok(Some(lines)) => lines,
                Ok(None) => return,
                Err(error) => {
                    self.set_problem(Some(format!("the spool cannot be read: {error}")));
                    if self.alerts.pause(LONGEST_PAUSE) {
                        return;
                    }
                    continue;
                }
            };
            let alerts: Vec<(i64, &str)> = lines.iter().filter_map(|line| spooled(line)).collect();
            match self.post(&alerts) {
                Answer::Taken => {
                    failures = 0;
                    self.set_problem(None);
                    alone = alone.saturating_sub(lines.len());
                    self.done();
                }
                Answer::Refused(_) if lines.len() > 1 => alone = lines.len(),
                Answer::Refused(reason) => {
                    failures = 0;
                    alone = alone.saturating_sub(1);
                    self.dead_letter(&alerts, &reason);
                }
                Answer::Retry(reason, pause) => {
                    failures += 1;
                    let is_over =
                        |line: &&String| spooled(line).is_none_or(|(since, _)| has_passed(since, self.webhook.give_up));
                    let over = lines.iter().take_while(is_over).count();
                    // Later alerts have their own deadline.
                    if over > 0 && matches!(self.alerts.next(over), Ok(Some(_))) {
                        let alerts: Vec<_> = lines[..over].iter().filter_map(|line| spooled(line)).collect();
                        self.dead_letter(&alerts, &format!("given up: {reason}"));
                    } else if self.wait(failures, pause, reason) {
                        return;
                    }
                }
            }
        }
    }

    /// Waits after a failure. Returns whether the spool is closed.
    fn wait(&self, failures: u64, asked: Option<Duration>, reason: String) -> bool {
        if failures == 1 {
            tracing::warn!(
                sink = self.sink,
                reason,
                "the endpoint accepts no alerts; they wait in the spool and are retried"
            );
        }
        self.set_problem(Some(reason));
        self.alerts.pause(pause(failures, asked, random_share()))
    }

    /// Posts alerts, each with the time since which it waits.
    fn post(&self, alerts: &[(i64, &str)]) -> Answer {
        let (body, content_type) = match alerts {
            [] => return Answer::Taken,
            [(_, alert)] if self.webhook.alerts_per_request == 1 => ((*alert).to_owned(), "application/json"),
            alerts => {
                let lines = alerts.iter().map(|(_, alert)| format!("{alert}\n"));
                (lines.collect(), "application/x-ndjson")
            }
        };
        let mut request = Request::post(&self.webhook.url).header(header::CONTENT_TYPE, content_type);
        if let [(_, alert)] = alerts {
            // The key lets the endpoint recognize an alert that is posted again after a crash.
            let id = AlertId::in_json(&serde_json::from_str(alert).unwrap_or_default());
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
        match self.runtime.block_on(self.client.send(request)) {
            Ok(answer) => {
                let pause = answer.headers().get(header::RETRY_AFTER);
                judge_answer(&self.host, answer.status(), pause.and_then(|pause| pause.to_str().ok()?.parse().ok()))
            }
            Err(error) => Answer::Retry(format!("{}: {error:#}", self.host), None),
        }
    }

    /// Makes dead letters of alerts.
    fn dead_letter(&mut self, alerts: &[(i64, &str)], reason: &str) {
        tracing::error!(sink = self.sink, alerts = alerts.len(), reason, "alerts become dead letters");
        let line = |(_, alert): &(i64, &str)| {
            let alert: Value = serde_json::from_str(alert).unwrap_or_default();
            Line::Numbered(LedgerLine::new(&json!({"sink": self.sink, "reason": reason, "alert": alert})))
        };
        match self.dead_letters.append_and_wait(alerts.iter().map(line).collect()) {
            Ok(()) => {
                self.set_problem(Some(reason.to_owned()));
                self.done();
            }
            Err(error) => {
                // The alerts stay in the spool.
                self.set_problem(Some(error.to_string()));
                self.alerts.pause(LONGEST_PAUSE);
            }
        }
    }

    fn done(&mut self) {
        if let Err(error) = self.alerts.done() {
            self.set_problem(Some(format!("the spool cannot be written: {error}")));
            self.alerts.pause(FIRST_PAUSE);
        }
    }

    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// Returns what an endpoint's status means. `pause` is its `Retry-After` in seconds.
fn judge_answer(host: &str, status: StatusCode, pause: Option<u64>) -> Answer {
    let reason = || format!("{host} answered {status}");
    if status.is_success() {
        Answer::Taken
    } else if status.is_server_error() || RETRIED.contains(&status.as_u16()) {
        Answer::Retry(reason(), pause.map(Duration::from_secs))
    } else {
        Answer::Refused(reason())
    }
}

/// Returns the time since which an alert waits, in milliseconds since 1970, and the alert.
fn spooled(line: &str) -> Option<(i64, &str)> {
    let (since, alert) = line.split_once(' ')?;
    Some((since.parse().ok()?, alert))
}

/// Returns whether this much time has passed since then.
fn has_passed(since: i64, time: Duration) -> bool {
    let since = Timestamp::from_millisecond(since).unwrap_or_default();
    Timestamp::now().duration_since(since) >= SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX)
}

/// Returns the pause after this many failures: the time that the endpoint asks for, or a random share of a time that
/// doubles. So sinks that failed together do not retry together.
fn pause(failures: u64, asked: Option<Duration>, share: f64) -> Duration {
    asked.unwrap_or_else(|| pause_after(failures).mul_f64(share).max(SHORTEST_PAUSE)).min(LONGEST_PAUSE)
}

/// Returns a random number from 0 to 1.
fn random_share() -> f64 {
    let mut random = [0; 4];
    match getrandom::fill(&mut random) {
        Ok(()) => f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
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
    fn a_pause_is_random_up_to_its_longest_and_obeys_the_endpoint() {
        assert_eq!(pause(40, None, 1.0), LONGEST_PAUSE);
        assert_eq!(pause(5, None, 0.0), SHORTEST_PAUSE);
        assert!(pause(5, None, 0.5) < pause_after(5));
        assert_eq!(pause(1, Some(Duration::from_secs(7)), 1.0), Duration::from_secs(7));
        assert_eq!(pause(1, Some(Duration::from_hours(1)), 1.0), LONGEST_PAUSE);
    }

    #[test]
    fn only_scheme_host_and_port_of_an_endpoint_are_shown() {
        assert_eq!(host("https://user:secret@soc.example:8443/hook/secret?token=secret"), "https://soc.example:8443");
        assert_eq!(host("http://soc.example"), "http://soc.example");
    }
}
