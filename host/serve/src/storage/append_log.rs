//! Append logs: files to which whole lines are appended. Lines are on the disk before their caller is answered.
//!
//! An append log has a thread of its own. Lines that arrive while it writes are written together the next time, so that
//! they share one sync of the disk. After a crash, an incomplete last line is removed: its sender was never told that
//! it is safe.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use portcullis::pipeline::LedgerLine;
use tokio::sync::{mpsc, oneshot};

use super::known::{Known, LineId, Repeats, content};
use super::log_file::{LogFile, LogTarget};
use crate::machine::{Machine, within};

/// A line to append.
pub(crate) enum Line {
    /// A line that gets the next number.
    Numbered(LedgerLine),
    /// The line of an alert.
    Alert(LineId, Arc<str>),
}

/// The reason why lines were not appended. None of them was.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotWritten(pub(crate) String);

type Answer = Result<(), NotWritten>;

enum Request {
    /// Appends lines. With a batch, they are all lines of this batch.
    Append(Arc<[Line]>, Option<Arc<str>>, oneshot::Sender<Answer>),
    /// Notes whether a batch was stored completely.
    Settle(Arc<str>, bool),
    /// Wakes the thread, so that it reopens the file.
    Wake,
}

/// Maximum number of requests that wait for the thread. Further callers wait before they are queued.
const WAITING: usize = 1024;

/// Maximum number of bytes of several requests that are written at once.
const AT_ONCE: usize = 4 << 20;

/// The interval at which a log that could not be written or reopened is checked. Clients send nothing while the service
/// is not ready, so a write would not find out.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A handle to an append log.
#[derive(Clone)]
pub(crate) struct AppendLog {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

/// What the handles of a log and its thread share.
#[derive(Default)]
struct Shared {
    problem: Mutex<Option<String>>,
    /// Whether the file must be reopened.
    reopens: AtomicBool,
}

impl Shared {
    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

impl AppendLog {
    /// Opens the append log in this file, or creates it.
    ///
    /// # Errors
    /// The file cannot be opened or read, or it is open already.
    pub(crate) fn open(machine: &Arc<dyn Machine>, path: &Path, repeats: Repeats) -> io::Result<Self> {
        let mut known = Known::new(repeats);
        let lines = LogFile::open(machine.disk(), path, &mut known)?;
        Self::start(machine, path.display().to_string(), Box::new(lines), known)
    }

    /// Opens the ledger, if there is one, and the dead letters. The ledger says which batches of the dead letters were
    /// refused.
    ///
    /// # Errors
    /// A file cannot be opened or read, or it is open already.
    pub(crate) fn open_records(
        machine: &Arc<dyn Machine>,
        ledger: Option<&Path>,
        dead_letters: &Path,
    ) -> Result<(Option<Self>, Self), (PathBuf, io::Error)> {
        let (mut of_ledger, mut of_letters) = (Known::new(Repeats::Batch), Known::new(Repeats::DeadLetter));
        let open = |path: &Path, known: &mut Known| {
            let file = LogFile::open(machine.disk(), path, known).map_err(|error| (path.to_owned(), error))?;
            Ok((path.display().to_string(), Box::new(file)))
        };
        let start = |(name, file): (String, Box<LogFile>), known| {
            Self::start(machine, name.clone(), file, known).map_err(|error| (name.into(), error))
        };
        let ledger = ledger.map(|path| open(path, &mut of_ledger)).transpose()?;
        let dead_letters = open(dead_letters, &mut of_letters)?;
        if ledger.is_some() {
            of_letters.settle_all(&of_ledger);
        }
        Ok((ledger.map(|file| start(file, of_ledger)).transpose()?, start(dead_letters, of_letters)?))
    }

    /// Returns an append log that writes to standard output.
    pub(crate) fn standard_output(machine: &Arc<dyn Machine>) -> io::Result<Self> {
        Self::start(machine, "standard output".to_owned(), Box::new(StandardOutput), Known::default())
    }

    /// Starts an append log on a target, whose past lines are known.
    pub(crate) fn start(
        machine: &Arc<dyn Machine>,
        name: String,
        target: Box<dyn LogTarget>,
        known: Known,
    ) -> io::Result<Self> {
        let (requests, receiver) = mpsc::channel(WAITING);
        let shared = Arc::new(Shared::default());
        let append_log = Self { requests, shared: Arc::clone(&shared) };
        let thread = LogThread { name, target, known, machine: Arc::clone(machine), shared, unwritten: None };
        machine.spawn_thread("portcullis-log", thread.serve(receiver).boxed())?;
        Ok(append_log)
    }

    /// Appends lines, all or none. On success they are on the disk.
    pub(crate) async fn append(&self, lines: &Arc<[Line]>) -> Answer {
        self.request(lines, None).await
    }

    /// Appends all lines of a batch. Those that were written for the same batch before are not written again.
    pub(crate) async fn append_batch(&self, batch: &Arc<str>, lines: &Arc<[Line]>) -> Answer {
        self.request(lines, Some(batch)).await
    }

    /// Notes that a batch whose lines were appended is stored completely, or that it is refused after all. A refused
    /// batch will be sent again under another id, and its lines are not appended again then.
    pub(crate) async fn settle(&self, batch: &Arc<str>, is_stored: bool) {
        // If the thread is gone, nothing is appended any more.
        let _ = self.requests.send(Request::Settle(Arc::clone(batch), is_stored)).await;
    }

    async fn request(&self, lines: &Arc<[Line]>, batch: Option<&Arc<str>>) -> Answer {
        if lines.is_empty() {
            return Ok(());
        }
        let (sender, answer) = oneshot::channel();
        let request = Request::Append(Arc::clone(lines), batch.cloned(), sender);
        self.requests.send(request).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Opens the file again, after it was moved away.
    pub(crate) fn reopen(&self) {
        self.shared.reopens.store(true, Ordering::Release);
        // If the queue is full, the thread is awake.
        let _ = self.requests.try_send(Request::Wake);
    }

    /// Returns why the last write failed, if it did.
    pub(crate) fn problem(&self) -> Option<String> {
        self.shared.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn ended() -> NotWritten {
    NotWritten("the log is closed".to_owned())
}

struct LogThread {
    name: String,
    target: Box<dyn LogTarget>,
    known: Known,
    machine: Arc<dyn Machine>,
    shared: Arc<Shared>,
    /// The length of the last failed write.
    unwritten: Option<u64>,
}

/// Lines that are written together.
#[derive(Default)]
struct Round {
    text: Vec<u8>,
    answers: Vec<oneshot::Sender<Answer>>,
    /// The ids that are new in it.
    ids: Vec<LineId>,
    /// The batches in it, with the number of lines that each had before.
    batches: Vec<(Arc<str>, usize)>,
    /// The ids of lines that are there already, from batches that were refused.
    refused: Vec<LineId>,
}

impl LogThread {
    async fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
        loop {
            let must_check = self.unwritten.is_some() || self.shared.reopens.load(Ordering::Acquire);
            let first =
                if must_check { within(CHECK_INTERVAL, requests.recv()).await } else { Some(requests.recv().await) };
            // Lines that come after a rotation go into the new file.
            if self.shared.reopens.swap(false, Ordering::AcqRel)
                && let Err(error) = self.target.reopen(self.machine.disk())
            {
                let again = CHECK_INTERVAL.as_secs();
                tracing::error!(
                    "{}: cannot be reopened: {error}; the open file is still used, and it is tried again in {again} s",
                    self.name
                );
                self.shared.reopens.store(true, Ordering::Release);
            }
            match first {
                None => self.check(),
                Some(None) => return,
                Some(Some(first)) => self.write(first, &mut requests),
            }
        }
    }

    /// Checks whether a write that failed would succeed now.
    fn check(&mut self) {
        if let Some(bytes) = self.unwritten
            && self.target.check_space(bytes).is_ok()
        {
            self.unwritten = None;
            self.shared.set_problem(None);
        }
    }

    /// Writes a request and those that wait, and answers them.
    fn write(&mut self, first: Request, requests: &mut mpsc::Receiver<Request>) {
        let (mut round, before) = (Round::default(), self.known.next);
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Append(lines, batch, answer) => {
                    self.add_lines(&lines, batch, &mut round);
                    round.answers.push(answer);
                }
                Request::Settle(batch, is_stored) => self.known.settle(&batch, is_stored),
                Request::Wake => {}
            }
            next = if round.text.len() < AT_ONCE { requests.try_recv().ok() } else { None };
        }
        let Round { text, answers, ids, batches, refused } = round;
        let mut answer = Ok(());
        if !text.is_empty() {
            answer = self.target.write(&text).map_err(|error| {
                self.known.next = before;
                for id in &ids {
                    self.known.forget(id);
                }
                // In reverse, so that the first number of a batch that is in it twice is the last to be set.
                for (batch, lines) in batches.into_iter().rev() {
                    // What was not written must not count as written when the batch is refused.
                    self.known.settle(&batch, true);
                    self.known.set_lines_of(batch, lines);
                }
                self.known.add_all_refused(refused);
                NotWritten(format!("{}: cannot be written: {error}", self.name))
            });
            self.unwritten = answer.is_err().then_some(text.len() as u64);
            self.shared.set_problem(answer.as_ref().err().map(ToString::to_string));
        }
        for to in answers {
            // If the caller is gone, the client will send the batch again.
            let _ = to.send(answer.clone());
        }
    }

    /// Adds those of these lines that are new.
    fn add_lines(&mut self, lines: &[Line], batch: Option<Arc<str>>, round: &mut Round) {
        let written = batch.as_deref().map_or(0, |batch| self.known.lines_of(batch));
        for line in lines.iter().skip(written) {
            match line {
                Line::Numbered(line) => {
                    let line = line.numbered(self.known.next);
                    if self.known.repeats == Repeats::DeadLetter && self.is_there(&line, batch.as_ref(), round) {
                        continue;
                    }
                    round.text.extend_from_slice(line.as_bytes());
                    self.known.next += 1;
                }
                Line::Alert(id, line) if self.is_new(*id, round) => round.text.extend_from_slice(line.as_bytes()),
                Line::Alert(..) => continue,
            }
            round.text.push(b'\n');
        }
        if let Some(batch) = batch {
            round.batches.push((Arc::clone(&batch), written));
            self.known.set_lines_of(batch, lines.len().max(written));
        }
    }

    /// Returns whether a dead letter is there already: that of an alert once, that of a record if its batch was refused
    /// after it was written.
    fn is_there(&mut self, line: &str, batch: Option<&Arc<str>>, round: &mut Round) -> bool {
        let id = content(line.as_bytes());
        let Some(batch) = batch else { return !self.is_new(id, round) };
        let is_there = self.known.take_refused(&id);
        if is_there {
            round.refused.push(id);
        }
        self.known.add_unsettled(batch, id);
        is_there
    }

    /// Adds an id. Returns whether it is new.
    fn is_new(&mut self, id: LineId, round: &mut Round) -> bool {
        let is_new = self.known.add(id);
        if is_new {
            round.ids.push(id);
        }
        is_new
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
    use crate::machine::RealMachine;

    /// Opens a log, once the previous one has closed its file.
    async fn open(path: &Path) -> AppendLog {
        let machine: Arc<dyn Machine> = Arc::new(RealMachine::new());
        loop {
            match AppendLog::open(&machine, path, Repeats::Alert) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                opened => return opened.expect("opened"),
            }
        }
    }

    fn once(id: &str) -> Line {
        Line::Alert(LineId::of(id).expect("an id"), format!("{{\"alert_id\":\"{id}\"}}").into())
    }

    const FIRST: &str = "00000000000000000000000000000001";
    const SECOND: &str = "00000000000000000000000000000002";

    #[tokio::test]
    async fn an_alert_is_stored_once_and_a_torn_line_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alerts.ndjson");
        let append_log = open(&path).await;
        append_log.append(&[once(FIRST), once(FIRST)].into()).await.expect("written");
        drop(append_log);
        let mut torn = OpenOptions::new().append(true).open(&path).expect("opened");
        torn.write_all(b"{\"alert_id\":\"0000000000").expect("written");
        let append_log = open(&path).await;
        append_log.append(&[once(FIRST), once(SECOND)].into()).await.expect("written");
        let expected = format!("{{\"alert_id\":\"{FIRST}\"}}\n{{\"alert_id\":\"{SECOND}\"}}\n");
        assert_eq!(fs::read_to_string(path).expect("read"), expected);
    }

    #[tokio::test]
    async fn numbers_continue_and_a_moved_file_is_created_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.ndjson");
        let line = || Arc::from([Line::Numbered(LedgerLine::new(&serde_json::json!({"outcome": "ignored"})))]);
        let append_log = open(&path).await;
        append_log.append(&line()).await.expect("written");
        drop(append_log);
        let append_log = open(&path).await;
        append_log.append(&line()).await.expect("written");
        fs::rename(&path, folder.path().join("ledger.1")).expect("renamed");
        append_log.reopen();
        append_log.append(&line()).await.expect("written");
        append_log.append(&line()).await.expect("written");
        let numbers = |name: &str| fs::read_to_string(folder.path().join(name)).expect("read");
        assert_eq!(
            numbers("ledger.1").matches("\"n\":1,").count() + numbers("ledger.ndjson").matches("\"n\":3,").count(),
            2
        );
    }

    #[tokio::test]
    async fn a_file_is_an_output_of_one_log_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("alerts.ndjson"), folder.path().join("ledger.ndjson"));
        let _alerts = open(&path).await;
        fs::hard_link(&path, &link).expect("linked");
        let machine: Arc<dyn Machine> = Arc::new(RealMachine::new());
        let error = AppendLog::open(&machine, &link, Repeats::Batch).err().expect("refused").to_string();
        assert!(error.starts_with("it is already open as another output"), "{error}");
    }
}
