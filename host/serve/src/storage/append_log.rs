//! Files that lines are appended to: whole, on the disk before it is said that they are, and many at a time.
//!
//! An append log has a thread of its own. What comes while it writes is written together the next time, so that the disk is waited
//! for once and not for each. After a process that was killed, a line that is not whole is taken away: who sent it was never
//! told that it is safe.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis::pipeline::LedgerLine;
use tokio::sync::oneshot;

use super::log_file::{LogFile, LogTarget, Past};
use super::recent::AlertId;

/// A line to be appended.
pub(crate) enum Line {
    /// Gets the next number.
    Numbered(LedgerLine),
    /// Is there once, however often it comes.
    Once(AlertId, Arc<str>),
}

/// Why lines were not appended: none of them was.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotWritten(pub(crate) String);

type Answer = Result<(), NotWritten>;

enum Request {
    Append(Vec<Line>, oneshot::Sender<Answer>),
    Reopen,
}

/// So many requests wait for the thread at the most; who comes then waits to wait.
const WAITING: usize = 1024;

/// So many bytes are written at once, or one request.
const AT_ONCE: usize = 4 << 20;

/// So often it is looked whether what could not be written to can be now: who asks whether the service is ready sends nothing
/// until it says so.
const LOOK: Duration = Duration::from_secs(1);

/// The near end of an append log.
#[derive(Clone)]
pub(crate) struct AppendLog {
    requests: SyncSender<Request>,
    wrong: Arc<Mutex<Option<String>>>,
}

impl AppendLog {
    /// The append log in this file, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be opened, or read.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut past = Past::default();
        let lines = LogFile::open(path, &mut past)?;
        Self::start(path.display().to_string(), Box::new(lines), past)
    }

    /// Standard output.
    pub(crate) fn standard_output() -> io::Result<Self> {
        Self::start("standard output".to_owned(), Box::new(StandardOutput), Past::default())
    }

    /// One that is written to this place, which already has what is past.
    pub(crate) fn start(name: String, place: Box<dyn LogTarget>, past: Past) -> io::Result<Self> {
        let (requests, receiver) = sync_channel(WAITING);
        let wrong = Arc::default();
        let append_log = Self { requests, wrong: Arc::clone(&wrong) };
        let target = Target { name, place, past };
        std::thread::Builder::new()
            .name("portcullis-append log".to_owned())
            .spawn(move || target.serve(&receiver, &wrong))?;
        Ok(append_log)
    }

    /// Appends lines, all or none. When this is answered, they are on the disk.
    pub(crate) async fn append(&self, lines: Vec<Line>) -> Answer {
        if lines.is_empty() {
            return Ok(());
        }
        let (sender, answer) = oneshot::channel();
        let mut request = Request::Append(lines, sender);
        // The thread is behind; its place is not to be waited for on one of the few threads that serve everybody.
        while let Err(error) = self.requests.try_send(request) {
            match error {
                std::sync::mpsc::TrySendError::Full(again) => request = again,
                std::sync::mpsc::TrySendError::Disconnected(_) => return Err(ended()),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// The same, for a thread that may wait.
    pub(crate) fn append_and_wait(&self, lines: Vec<Line>) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.requests.send(Request::Append(lines, sender)).map_err(|_| ended())?;
        answer.blocking_recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Has the file opened anew: somebody has moved it away.
    pub(crate) fn reopen(&self) {
        // A thread that is so far behind opens it at the next time.
        let _ = self.requests.try_send(Request::Reopen);
    }

    /// What was wrong when it was written to last.
    pub(crate) fn wrong(&self) -> Option<String> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn ended() -> NotWritten {
    NotWritten("nothing is written any more".to_owned())
}

struct Target {
    name: String,
    place: Box<dyn LogTarget>,
    past: Past,
}

impl Target {
    fn serve(mut self, requests: &Receiver<Request>, wrong: &Mutex<Option<String>>) {
        let mut text = Vec::new();
        // The bytes that could not be written last.
        let mut unwritten = None;
        loop {
            let first = match unwritten {
                None => requests.recv().map_err(RecvTimeoutError::from),
                Some(_) => requests.recv_timeout(LOOK),
            };
            let first = match (first, unwritten) {
                (Ok(first), _) => first,
                (Err(RecvTimeoutError::Timeout), Some(bytes)) => {
                    if self.place.look(bytes).is_ok() {
                        unwritten = None;
                        *wrong.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    }
                    continue;
                }
                (Err(_), _) => return,
            };
            text.clear();
            let (mut answers, mut ids, before) = (Vec::new(), Vec::new(), self.past.next);
            let mut reopens = false;
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Append(lines, answer) => {
                        self.write_down(lines, &mut text, &mut ids);
                        answers.push(answer);
                    }
                    Request::Reopen => reopens = true,
                }
                next = if text.len() < AT_ONCE { requests.try_recv().ok() } else { None };
            }
            let written = if text.is_empty() { Ok(()) } else { self.place.write(&text) }.map_err(|error| {
                self.past.next = before;
                for id in &ids {
                    self.past.recent.forget(id);
                }
                NotWritten(format!("{}: cannot be written: {error}", self.name))
            });
            if !text.is_empty() {
                unwritten = written.is_err().then_some(text.len() as u64);
                *wrong.lock().unwrap_or_else(PoisonError::into_inner) = written.as_ref().err().map(ToString::to_string);
            }
            if let Some(error) = reopens.then(|| self.place.reopen().err()).flatten() {
                tracing::error!("{}: cannot be opened: {error}; what was open stays so", self.name);
            }
            for answer in answers {
                // Who does not wait for it any more sends it again.
                let _ = answer.send(written.clone());
            }
        }
    }

    /// Puts lines into a text, and the ids that are new in it into a list.
    fn write_down(&mut self, lines: Vec<Line>, text: &mut Vec<u8>, ids: &mut Vec<AlertId>) {
        for line in lines {
            match line {
                Line::Numbered(line) => {
                    text.extend_from_slice(line.numbered(self.past.next).as_bytes());
                    self.past.next += 1;
                }
                Line::Once(id, _) if !self.past.recent.add(id) => continue,
                Line::Once(id, line) => {
                    text.extend_from_slice(line.as_bytes());
                    ids.push(id);
                }
            }
            text.push(b'\n');
        }
    }
}

struct StandardOutput;

impl LogTarget for StandardOutput {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let mut output = io::stdout().lock();
        output.write_all(text)?;
        output.flush()
    }

    fn look(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use super::*;

    fn once(id: &str) -> Line {
        Line::Once(AlertId::of(id).expect("an id"), format!("{{\"alert_id\":\"{id}\"}}").into())
    }

    const FIRST: &str = "00000000000000000000000000000001";
    const SECOND: &str = "00000000000000000000000000000002";

    #[test]
    fn an_alert_is_there_once_and_a_line_that_is_not_whole_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alerts.ndjson");
        let append_log = AppendLog::open(&path).expect("opened");
        append_log.append_and_wait(vec![once(FIRST), once(FIRST)]).expect("written");
        drop(append_log);
        let mut torn = OpenOptions::new().append(true).open(&path).expect("opened");
        torn.write_all(b"{\"alert_id\":\"0000000000").expect("written");
        let append_log = AppendLog::open(&path).expect("opened");
        append_log.append_and_wait(vec![once(FIRST), once(SECOND)]).expect("written");
        let expected = format!("{{\"alert_id\":\"{FIRST}\"}}\n{{\"alert_id\":\"{SECOND}\"}}\n");
        assert_eq!(fs::read_to_string(path).expect("read"), expected);
    }

    #[test]
    fn numbers_go_on_and_a_file_that_was_moved_away_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.ndjson");
        let line = || vec![Line::Numbered(LedgerLine::new(&serde_json::json!({"outcome": "ignored"})))];
        let append_log = AppendLog::open(&path).expect("opened");
        append_log.append_and_wait(line()).expect("written");
        drop(append_log);
        let append_log = AppendLog::open(&path).expect("opened");
        append_log.append_and_wait(line()).expect("written");
        fs::rename(&path, folder.path().join("ledger.1")).expect("renamed");
        append_log.reopen();
        append_log.append_and_wait(line()).expect("written");
        append_log.append_and_wait(line()).expect("written");
        let numbers = |name: &str| fs::read_to_string(folder.path().join(name)).expect("read");
        assert_eq!(
            numbers("ledger.1").matches("\"n\":1,").count() + numbers("ledger.ndjson").matches("\"n\":3,").count(),
            2
        );
    }

    #[test]
    fn what_cannot_be_written_is_told_and_leaves_nothing() {
        // A device on which there is never room.
        let file = OpenOptions::new().write(true).open("/dev/full").expect("opened");
        let full = LogFile { path: "/dev/full".into(), file, end: 0 };
        let append_log = AppendLog::start("full".to_owned(), Box::new(full), Past::default());
        let append_log = append_log.expect("started");
        let answer = append_log.append_and_wait(vec![once(FIRST)]);
        assert!(answer.expect_err("no room").to_string().contains("cannot be written"));
        assert!(append_log.wrong().is_some());
    }
}
