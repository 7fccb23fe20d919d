//! Append logs: files to which whole lines are appended. Lines are on the disk before their caller is answered.
//!
//! An append log has a thread of its own. Lines that arrive while it writes are written together the next time, so that
//! they share one sync of the disk. After a crash, an incomplete last line is removed: its sender was never told that
//! it is safe.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis::pipeline::LedgerLine;
use tokio::sync::oneshot;

use super::log_file::{LogFile, LogTarget, Past};
use super::recent::AlertId;

/// A line to append.
pub(crate) enum Line {
    /// A line that gets the next number.
    Numbered(LedgerLine),
    /// A line that is written once, even if it is appended again.
    Once(AlertId, Arc<str>),
}

/// The reason why lines were not appended. None of them was.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotWritten(pub(crate) String);

type Answer = Result<(), NotWritten>;

enum Request {
    Append(Vec<Line>, oneshot::Sender<Answer>),
    Reopen,
}

/// Maximum number of requests that wait for the thread. Further callers wait before they are queued.
const WAITING: usize = 1024;

/// Maximum number of bytes of several requests that are written at once.
const AT_ONCE: usize = 4 << 20;

/// The interval at which a log that could not be written is checked. Clients send nothing while the service is not
/// ready, so a write would not find out.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A handle to an append log.
#[derive(Clone)]
pub(crate) struct AppendLog {
    requests: SyncSender<Request>,
    problem: Arc<Mutex<Option<String>>>,
}

impl AppendLog {
    /// Opens the append log in this file, or creates it.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut past = Past::default();
        let lines = LogFile::open(path, &mut past)?;
        Self::start(path.display().to_string(), Box::new(lines), past)
    }

    /// Returns an append log that writes to standard output.
    pub(crate) fn standard_output() -> io::Result<Self> {
        Self::start("standard output".to_owned(), Box::new(StandardOutput), Past::default())
    }

    /// Starts an append log on a target, whose past lines are known.
    pub(crate) fn start(name: String, target: Box<dyn LogTarget>, past: Past) -> io::Result<Self> {
        let (requests, receiver) = sync_channel(WAITING);
        let problem = Arc::default();
        let append_log = Self { requests, problem: Arc::clone(&problem) };
        let thread = LogThread { name, target, past };
        std::thread::Builder::new()
            .name("portcullis-log".to_owned())
            .spawn(move || thread.serve(&receiver, &problem))?;
        Ok(append_log)
    }

    /// Appends lines, all or none. On success they are on the disk.
    pub(crate) async fn append(&self, lines: Vec<Line>) -> Answer {
        if lines.is_empty() {
            return Ok(());
        }
        let (sender, answer) = oneshot::channel();
        let mut request = Request::Append(lines, sender);
        // The thread is behind. This must not block, because few threads serve all clients.
        while let Err(error) = self.requests.try_send(request) {
            match error {
                std::sync::mpsc::TrySendError::Full(returned) => request = returned,
                std::sync::mpsc::TrySendError::Disconnected(_) => return Err(ended()),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Appends lines like [`Self::append`], on a thread that may block.
    pub(crate) fn append_and_wait(&self, lines: Vec<Line>) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.requests.send(Request::Append(lines, sender)).map_err(|_| ended())?;
        answer.blocking_recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Opens the file again, after it was moved away.
    pub(crate) fn reopen(&self) {
        // If the queue is full, the file is opened at the next request.
        let _ = self.requests.try_send(Request::Reopen);
    }

    /// Returns why the last write failed, if it did.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn ended() -> NotWritten {
    NotWritten("the log is closed".to_owned())
}

struct LogThread {
    name: String,
    target: Box<dyn LogTarget>,
    past: Past,
}

impl LogThread {
    fn serve(mut self, requests: &Receiver<Request>, problem: &Mutex<Option<String>>) {
        let mut text = Vec::new();
        // The length of the last failed write.
        let mut unwritten = None;
        loop {
            let first = match unwritten {
                None => requests.recv().map_err(RecvTimeoutError::from),
                Some(_) => requests.recv_timeout(CHECK_INTERVAL),
            };
            let first = match (first, unwritten) {
                (Ok(first), _) => first,
                (Err(RecvTimeoutError::Timeout), Some(bytes)) => {
                    if self.target.check_space(bytes).is_ok() {
                        unwritten = None;
                        *problem.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
                        self.add_lines(lines, &mut text, &mut ids);
                        answers.push(answer);
                    }
                    Request::Reopen => reopens = true,
                }
                next = if text.len() < AT_ONCE { requests.try_recv().ok() } else { None };
            }
            let written = if text.is_empty() { Ok(()) } else { self.target.write(&text) }.map_err(|error| {
                self.past.next = before;
                for id in &ids {
                    self.past.recent.forget(id);
                }
                NotWritten(format!("{}: cannot be written: {error}", self.name))
            });
            if !text.is_empty() {
                unwritten = written.is_err().then_some(text.len() as u64);
                *problem.lock().unwrap_or_else(PoisonError::into_inner) =
                    written.as_ref().err().map(ToString::to_string);
            }
            if let Some(error) = reopens.then(|| self.target.reopen().err()).flatten() {
                tracing::error!("{}: cannot be reopened: {error}; the open file is still used", self.name);
            }
            for answer in answers {
                // If the caller is gone, the client will send the batch again.
                let _ = answer.send(written.clone());
            }
        }
    }

    /// Adds lines to a text, and the ids that are new in it to a list.
    fn add_lines(&mut self, lines: Vec<Line>, text: &mut Vec<u8>, ids: &mut Vec<AlertId>) {
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

    fn check_space(&mut self, _: u64) -> io::Result<()> {
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
    fn an_alert_is_stored_once_and_a_torn_line_is_removed() {
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
    fn numbers_continue_and_a_moved_file_is_created_again() {
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
    fn a_failed_write_is_reported_and_leaves_nothing() {
        // A device that is always full.
        let file = OpenOptions::new().write(true).open("/dev/full").expect("opened");
        let full = LogFile { path: "/dev/full".into(), file, end: 0 };
        let append_log = AppendLog::start("full".to_owned(), Box::new(full), Past::default());
        let append_log = append_log.expect("started");
        let answer = append_log.append_and_wait(vec![once(FIRST)]);
        assert!(answer.expect_err("the device is full").to_string().contains("cannot be written"));
        assert!(append_log.problem().is_some());
    }
}
