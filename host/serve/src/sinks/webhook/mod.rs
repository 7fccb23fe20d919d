//! A sink that is an HTTP endpoint. Alerts wait on the disk until the endpoint has taken them.

pub(super) mod endpoint;
mod of_tenants;

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use portcullis::pipeline::LedgerLine;
use serde_json::{Value, json};

pub(super) use of_tenants::Webhooks;

use super::Health;
use crate::backoff::{LONGEST_PAUSE, pause_after};
use crate::machine::Machine;
use crate::sink_alert::SinkAlert;
use crate::storage::spool::{self, SpoolHandle, SpoolReader};
use crate::storage::{AppendLog, Line, NotWritten};

/// The shortest pause.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// The longest alert with its finding, in bytes, as the default limits allow it.
const LONGEST_ALERT: u64 = 1 << 20;

/// Maximum pause that an endpoint can ask for.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// An endpoint that alerts are posted to.
pub(crate) trait Endpoint: Send + Sync {
    /// Posts alerts, each one line of JSON.
    fn post<'a>(&'a self, alerts: &'a [&'a str]) -> BoxFuture<'a, Answer>;

    /// Returns the number of alerts in one request.
    fn at_once(&self) -> usize;
}

/// An endpoint's answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    /// Try again, after this time if the endpoint asks for it.
    Retry(String, Option<Duration>),
    /// The endpoint will never take it.
    Refused(String),
}

/// A spool whose alerts are posted.
struct WebhookSink {
    machine: Arc<dyn Machine>,
    ocsf: bool,
    spool: AppendLog,
    handle: SpoolHandle,
    /// Maximum number of bytes that wait.
    most: u64,
    problem: Arc<Mutex<Option<String>>>,
}

/// How alerts wait.
pub(crate) struct Spooling {
    /// The folder of the spool.
    pub(crate) folder: PathBuf,
    /// Maximum number of bytes that wait.
    pub(crate) most: u64,
    /// The time after which an alert that was not accepted becomes a dead letter.
    pub(crate) give_up: Duration,
}

/// The loop that posts.
struct Poster {
    machine: Arc<dyn Machine>,
    sink: String,
    tenant: Option<Arc<str>>,
    endpoint: Box<dyn Endpoint>,
    give_up: Duration,
    alerts: SpoolReader,
    dead_letters: AppendLog,
    problem: Arc<Mutex<Option<String>>>,
}

impl WebhookSink {
    /// Starts to post the alerts that wait in the spool, and those to come. They are all of this tenant, if there is one.
    fn start(
        machine: &Arc<dyn Machine>,
        name: &str,
        tenant: Option<&Arc<str>>,
        ocsf: bool,
        spooling: &Spooling,
        endpoint: Box<dyn Endpoint>,
        dead_letters: AppendLog,
    ) -> anyhow::Result<Self> {
        let Spooling { folder, most, give_up } = spooling;
        let cannot = || format!("{}: cannot be opened", folder.display());
        let (writer, alerts, handle, known) = spool::open(machine, folder, *most).with_context(cannot)?;
        let spool = AppendLog::start(machine, folder.display().to_string(), Box::new(writer), known);
        let problem = Arc::default();
        let poster = Poster {
            machine: Arc::clone(machine),
            sink: name.to_owned(),
            tenant: tenant.cloned(),
            endpoint,
            give_up: *give_up,
            alerts,
            dead_letters,
            problem: Arc::clone(&problem),
        };
        machine.spawn_thread("portcullis-webhook", poster.run().boxed())?;
        let spool = spool.with_context(cannot)?;
        Ok(Self { machine: Arc::clone(machine), ocsf, spool, handle, most: *most, problem })
    }

    fn put<'a>(
        &'a self,
        alerts: impl Iterator<Item = &'a SinkAlert>,
    ) -> impl Future<Output = Result<(), NotWritten>> + Send + 'a {
        let now = self.machine.now().as_millisecond();
        let line = |alert: &SinkAlert| Line::Alert(alert.id, format!("{now} {}", alert.text(self.ocsf)).into());
        let lines: Arc<[Line]> = alerts.map(line).collect();
        async move { self.spool.append(&lines).await }
    }

    fn health(&self) -> Health {
        Health {
            refuses: self.spool.problem(),
            stuck: self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            waiting: self.handle.bytes(),
        }
    }

    /// Returns the number of bytes that fit into the spool. An empty one takes any alert.
    fn room(&self) -> u64 {
        match self.handle.bytes() {
            0 => self.most.max(LONGEST_ALERT),
            waiting => self.most.saturating_sub(waiting),
        }
    }

    fn close(&self) {
        self.handle.close();
    }
}

impl Poster {
    async fn run(mut self) {
        let mut failures: u64 = 0;
        // Number of alerts to post one by one: most alerts of a refused request may be accepted alone.
        let mut alone: usize = 0;
        loop {
            let batch = if alone > 0 { 1 } else { self.endpoint.at_once() };
            let lines = match self.alerts.next(batch).await {
                Ok(Some(lines)) => lines,
                Ok(None) => return,
                Err(error) => {
                    self.set_problem(Some(format!("the spool cannot be read: {error}")));
                    if self.alerts.pause(LONGEST_PAUSE).await {
                        return;
                    }
                    continue;
                }
            };
            let alerts: Vec<&str> = lines.iter().filter_map(|line| Some(spooled(line)?.1)).collect();
            let answer = if alerts.is_empty() { Answer::Taken } else { self.endpoint.post(&alerts).await };
            match answer {
                Answer::Taken => {
                    failures = 0;
                    alone = alone.saturating_sub(lines.len());
                    self.done(None);
                }
                Answer::Refused(_) if lines.len() > 1 => alone = lines.len(),
                Answer::Refused(reason) => {
                    failures = 0;
                    alone = alone.saturating_sub(1);
                    self.dead_letter(&alerts, &reason).await;
                }
                Answer::Retry(reason, asked) => {
                    failures += 1;
                    let is_over = |line: &&String| spooled(line).is_none_or(|(since, _)| self.is_over(since));
                    let over = lines.iter().take_while(is_over).count();
                    // Later alerts have their own deadline.
                    if over > 0 && matches!(self.alerts.next(over).await, Ok(Some(_))) {
                        let alerts: Vec<_> = lines[..over].iter().filter_map(|line| Some(spooled(line)?.1)).collect();
                        self.dead_letter(&alerts, &format!("given up: {reason}")).await;
                    } else if self.wait(failures, asked, reason).await {
                        return;
                    }
                }
            }
        }
    }

    /// Waits after a failure. Returns whether the spool is closed.
    async fn wait(&self, failures: u64, asked: Option<Duration>, reason: String) -> bool {
        if failures == 1 {
            tracing::warn!(
                sink = self.sink,
                tenant = self.tenant.as_deref(),
                reason,
                "the endpoint accepts no alerts; they wait in the spool and are retried"
            );
        }
        self.set_problem(Some(reason));
        self.alerts.pause(pause(failures, asked, self.machine.random_share())).await
    }

    /// Returns whether it is time to give up an alert that waits since then.
    fn is_over(&self, since: i64) -> bool {
        let since = Timestamp::from_millisecond(since).unwrap_or_default();
        self.machine.now().duration_since(since)
            >= SignedDuration::try_from(self.give_up).unwrap_or(SignedDuration::MAX)
    }

    /// Makes dead letters of alerts.
    async fn dead_letter(&mut self, alerts: &[&str], reason: &str) {
        tracing::error!(sink = self.sink, alerts = alerts.len(), reason, "alerts become dead letters");
        let line = |alert: &&str| {
            let alert: Value = serde_json::from_str(alert).unwrap_or_default();
            Line::Numbered(LedgerLine::new(&json!({"sink": self.sink, "reason": reason, "alert": alert})))
        };
        match self.dead_letters.append_in_turns(&alerts.iter().map(line).collect(), None).await {
            Ok(()) => self.done(Some(reason.to_owned())),
            Err(error) => {
                // The alerts stay in the spool.
                self.set_problem(Some(error.to_string()));
                self.alerts.pause(LONGEST_PAUSE).await;
            }
        }
    }

    /// Goes on to the next alerts. `problem` is what the operator should know of the last ones.
    fn done(&mut self, problem: Option<String>) {
        let unsaved = self.alerts.done().err().map(|error| {
            format!("the position in the spool cannot be written: {error}; a restart posts the last alerts again")
        });
        self.set_problem(unsaved.or(problem));
    }

    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// Returns the time since which an alert waits, in milliseconds since 1970, and the alert.
fn spooled(line: &str) -> Option<(i64, &str)> {
    let (since, alert) = line.split_once(' ')?;
    Some((since.parse().ok()?, alert))
}

/// Returns the pause after this many failures: the time that the endpoint asks for, or a random share of a time that
/// doubles. So sinks that failed together do not retry together.
fn pause(failures: u64, asked: Option<Duration>, share: f64) -> Duration {
    match asked {
        Some(asked) => asked.clamp(SHORTEST_PAUSE, LONGEST_ASKED),
        None => pause_after(failures).mul_f64(share).max(SHORTEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_random_up_to_its_longest_and_obeys_the_endpoint() {
        assert_eq!(pause(40, None, 1.0), LONGEST_PAUSE);
        assert_eq!(pause(5, None, 0.0), SHORTEST_PAUSE);
        assert!(pause(5, None, 0.5) < pause_after(5));
        assert_eq!(pause(1, Some(Duration::from_mins(7)), 1.0), Duration::from_mins(7));
        assert_eq!(pause(1, Some(Duration::from_hours(9)), 1.0), LONGEST_ASKED);
    }
}
