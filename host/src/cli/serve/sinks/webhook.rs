//! A sink that is somebody's HTTP endpoint: what it is to get waits on the disk until it has taken it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use portcullis::Unnumbered;
use portcullis::config::Webhook;
use serde_json::{Value, json};

use super::super::journal::{Journal, Line};
use super::super::recent::Id;
use super::spool::{self, Taking, Waiting};
use crate::cli::web;

/// Statuses below 500 that need not be the last word on an alert: somebody may have to mend a token or an address first.
const PERHAPS: [u16; 7] = [401, 403, 404, 407, 408, 425, 429];

/// How long it waits after a failure: up to twice as long after each, and never longer than the last.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// An endpoint at work.
pub(super) struct AtWork {
    spool: Journal,
    waiting: Waiting,
    wrong: Arc<Mutex<Option<String>>>,
}

/// The thread that posts.
struct Posting {
    sink: String,
    /// Where it is, as far as others may know.
    host: String,
    webhook: Webhook,
    agent: ureq::Agent,
    alerts: Taking,
    dead_letters: Journal,
    wrong: Arc<Mutex<Option<String>>>,
}

/// What came of a request.
enum Outcome {
    Taken,
    /// It may be taken later; not before so long, if the endpoint says so.
    Later(String, Option<Duration>),
    /// It will never be.
    Never(String),
}

impl AtWork {
    /// Begins to post what waits in this folder, and what will.
    pub(super) fn start(name: &str, webhook: &Webhook, folder: &Path, dead_letters: Journal) -> anyhow::Result<Self> {
        let cannot = || format!("{}: cannot be opened", folder.display());
        let (putting, alerts, waiting, past) = spool::open(folder, webhook.spool).with_context(cannot)?;
        let spool = Journal::start(folder.display().to_string(), Box::new(putting), past).with_context(cannot)?;
        // A file that is not there is better told now.
        webhook.authorization_file.as_deref().map(web::read_line).transpose()?;
        let wrong = Arc::default();
        let posting = Posting {
            sink: name.to_owned(),
            host: host(&webhook.url),
            webhook: webhook.clone(),
            agent: web::agent(webhook.ca.as_deref())?,
            alerts,
            dead_letters,
            wrong: Arc::clone(&wrong),
        };
        std::thread::Builder::new().name("portcullis-webhook".to_owned()).spawn(move || posting.serve())?;
        Ok(Self { spool, waiting, wrong })
    }

    /// Keeps alerts for it. When this is answered, they are on the disk.
    pub(super) async fn put(&self, alerts: Vec<(Id, Arc<str>)>) -> Result<(), super::NotWritten> {
        let now = Timestamp::now().as_millisecond();
        let line = |(id, text): (Id, Arc<str>)| Line::Once(id, format!("{now} {text}").into());
        self.spool.append(alerts.into_iter().map(line).collect()).await
    }

    /// The bytes that wait for it.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.bytes()
    }

    /// Why alerts cannot be kept for it.
    pub(super) fn full(&self) -> Option<String> {
        self.spool.wrong()
    }

    /// Why it does not take them.
    pub(super) fn wrong(&self) -> Option<String> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the posting. What waits is posted after the next start.
    pub(super) fn close(&self) {
        self.waiting.close();
    }
}

/// The scheme, host and port of a URL. Of many endpoints, the rest is all that it takes to post there.
fn host(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    format!("{scheme}://{host}")
}

impl Posting {
    fn serve(mut self) {
        let mut failures = 0;
        // So many are posted one by one: of a batch that will never be taken, most may be.
        let mut alone: usize = 0;
        loop {
            let batch = if alone > 0 { 1 } else { self.webhook.batch };
            let lines = match self.alerts.next(batch) {
                Ok(Some(lines)) => lines,
                Ok(None) => return,
                Err(error) => {
                    self.is_wrong(Some(format!("the spool cannot be read: {error}")));
                    if self.alerts.pause(LONGEST_PAUSE) {
                        return;
                    }
                    continue;
                }
            };
            let alerts: Vec<(i64, &str)> = lines.iter().filter_map(|line| spooled(line)).collect();
            match self.post(&alerts) {
                Outcome::Taken => {
                    failures = 0;
                    self.is_wrong(None);
                    alone = alone.saturating_sub(lines.len());
                    self.done();
                }
                Outcome::Never(_) if lines.len() > 1 => alone = lines.len(),
                Outcome::Never(reason) => {
                    failures = 0;
                    alone = alone.saturating_sub(1);
                    self.bury(&alerts, &reason);
                }
                Outcome::Later(reason, pause) => {
                    failures += 1;
                    let is_over =
                        |line: &&String| spooled(line).is_none_or(|(since, _)| has_passed(since, self.webhook.give_up));
                    let over = lines.iter().take_while(is_over).count();
                    // Those that came later have their own time.
                    if over > 0 && matches!(self.alerts.next(over), Ok(Some(_))) {
                        let alerts: Vec<_> = lines[..over].iter().filter_map(|line| spooled(line)).collect();
                        self.bury(&alerts, &format!("given up: {reason}"));
                    } else if self.wait(failures, pause, reason) {
                        return;
                    }
                }
            }
        }
    }

    /// Waits after a failure; whether it is all over.
    fn wait(&self, failures: u32, pause: Option<Duration>, reason: String) -> bool {
        if failures == 1 {
            tracing::warn!(sink = self.sink, reason, "the sink does not take alerts; they wait on the disk");
        }
        self.is_wrong(Some(reason));
        self.alerts.pause(pause.unwrap_or_else(|| jittered(failures)).min(LONGEST_PAUSE))
    }

    fn post(&self, alerts: &[(i64, &str)]) -> Outcome {
        let (body, content_type) = match alerts {
            [] => return Outcome::Taken,
            [(_, alert)] if self.webhook.batch == 1 => ((*alert).to_owned(), "application/json"),
            alerts => {
                let lines = alerts.iter().map(|(_, alert)| format!("{alert}\n"));
                (lines.collect(), "application/x-ndjson")
            }
        };
        let mut request = self.agent.post(&self.webhook.url).content_type(content_type);
        if let [(_, alert)] = alerts {
            // Who gets one a second time, after a crash of ours, can tell.
            let id = Id::in_json(&serde_json::from_str(alert).unwrap_or_default());
            request = request.header("Idempotency-Key", id.map(|id| id.to_string()).unwrap_or_default());
        }
        // Each time, so that a new one counts.
        match self.webhook.authorization_file.as_deref().map(web::read_line).transpose() {
            Ok(Some(authorization)) => request = request.header("Authorization", authorization),
            Ok(None) => {}
            Err(error) => return Outcome::Later(format!("{error:#}"), None),
        }
        match request.send(body) {
            Ok(answer) if answer.status().is_success() => Outcome::Taken,
            Ok(answer) => {
                let status = answer.status();
                let reason = format!("{} answers {status}", self.host);
                let pause = answer.headers().get("retry-after").and_then(|pause| pause.to_str().ok()?.parse().ok());
                if status.is_server_error() || PERHAPS.contains(&status.as_u16()) {
                    Outcome::Later(reason, pause.map(Duration::from_secs))
                } else {
                    Outcome::Never(reason)
                }
            }
            Err(error) => Outcome::Later(format!("{}: {error}", self.host), None),
        }
    }

    /// Makes dead letters of alerts.
    fn bury(&mut self, alerts: &[(i64, &str)], reason: &str) {
        tracing::error!(sink = self.sink, alerts = alerts.len(), reason, "alerts become dead letters");
        let line = |(_, alert): &(i64, &str)| {
            let alert: Value = serde_json::from_str(alert).unwrap_or_default();
            Line::Numbered(Unnumbered::new(&json!({"sink": self.sink, "reason": reason, "alert": alert})))
        };
        match self.dead_letters.append_and_wait(alerts.iter().map(line).collect()) {
            Ok(()) => {
                self.is_wrong(Some(reason.to_owned()));
                self.done();
            }
            Err(error) => {
                // They stay where they are.
                self.is_wrong(Some(error.to_string()));
                self.alerts.pause(LONGEST_PAUSE);
            }
        }
    }

    fn done(&mut self) {
        if let Err(error) = self.alerts.done() {
            self.is_wrong(Some(format!("the spool cannot be written: {error}")));
            self.alerts.pause(FIRST_PAUSE);
        }
    }

    fn is_wrong(&self, wrong: Option<String>) {
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = wrong;
    }
}

/// Since when an alert waits, in milliseconds, and the alert.
fn spooled(line: &str) -> Option<(i64, &str)> {
    let (since, alert) = line.split_once(' ')?;
    Some((since.parse().ok()?, alert))
}

fn has_passed(since: i64, time: Duration) -> bool {
    let since = Timestamp::from_millisecond(since).unwrap_or_default();
    Timestamp::now().duration_since(since) >= SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX)
}

/// Anything up to the longest pause after so many failures, so that not all who failed together come back together.
fn jittered(failures: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LONGEST_PAUSE);
    let mut random = [0; 4];
    let share = match getrandom::fill(&mut random) {
        Ok(()) => f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    };
    longest.mul_f64(share).max(Duration::from_millis(10))
}
