//! Append logs: files to which whole lines are appended. Lines are on the disk before their caller is answered.

use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};

use super::known::{Known, Repeats};
use super::log_file::{LogFile, LogTarget};
use super::log_thread::{Answer, Line, LogThread, NotWritten, Part, Request, Shared, TURN};
use crate::machine::Machine;

/// Maximum number of requests that wait for the thread. Further callers wait before they are queued.
const WAITING: usize = 1024;

/// A handle to an append log.
#[derive(Clone)]
pub(crate) struct AppendLog {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
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
        let thread = LogThread::new(name, target, known, Arc::clone(machine), shared);
        machine.spawn_thread("portcullis-log", thread.serve(receiver).boxed())?;
        Ok(append_log)
    }

    /// Appends lines, all or none. On success they are on the disk.
    pub(crate) async fn append(&self, lines: &Arc<[Line]>) -> Answer {
        self.request(lines, 0..lines.len(), None).await
    }

    /// Appends all lines of a batch, all or none. Those that were written for the same batch before are not written again.
    pub(crate) async fn append_batch(&self, batch: &Arc<str>, lines: &Arc<[Line]>) -> Answer {
        self.request(lines, 0..lines.len(), Some(batch)).await
    }

    /// Appends lines, of a batch if there is one, in turns with other callers. If it fails, the first lines may be there.
    pub(crate) async fn append_in_turns(&self, lines: &Arc<[Line]>, batch: Option<&Arc<str>>) -> Answer {
        let (mut start, mut bytes) = (0, 0);
        for (n, line) in lines.iter().enumerate() {
            if bytes > 0 && bytes + line.len() > TURN {
                self.request(lines, start..n, batch).await?;
                (start, bytes) = (n, 0);
            }
            bytes += line.len();
        }
        self.request(lines, start..lines.len(), batch).await
    }

    /// Notes that a batch whose lines were appended is stored completely, or that it is refused after all. A refused
    /// batch will be sent again under another id, and its lines are not appended again then.
    pub(crate) async fn settle(&self, batch: &Arc<str>, is_stored: bool) {
        // If the thread is gone, nothing is appended any more.
        let _ = self.requests.send(Request::Settle(Arc::clone(batch), is_stored)).await;
    }

    async fn request(&self, lines: &Arc<[Line]>, range: Range<usize>, batch: Option<&Arc<str>>) -> Answer {
        if range.is_empty() {
            return Ok(());
        }
        let (sender, answer) = oneshot::channel();
        let request = Request::Append(Part { lines: Arc::clone(lines), range, batch: batch.cloned() }, sender);
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
        self.shared.problem()
    }
}

fn ended() -> NotWritten {
    NotWritten("the log is closed".to_owned())
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
    use std::sync::Mutex;
    use std::time::Duration;

    use portcullis::pipeline::LedgerLine;

    use super::*;
    use crate::machine::RealMachine;
    use crate::storage::known::LineId;

    /// Opens a log, once the previous one has closed its file.
    async fn open(path: &Path) -> AppendLog {
        try_open(path).await.expect("opened")
    }

    async fn try_open(path: &Path) -> io::Result<AppendLog> {
        let machine: Arc<dyn Machine> = Arc::new(RealMachine::new());
        loop {
            match AppendLog::open(&machine, path, Repeats::Alert) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                opened => return opened,
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
    async fn a_torn_line_of_any_length_is_removed_and_another_file_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("dead-letters.ndjson");
        let whole = "{\"n\":0,\"reason\":\"broken\"}\n";
        for torn in ["{\"n\":1,\"record\":\"".to_owned() + &"x".repeat(40 << 20), "\0".repeat(5_000)] {
            fs::write(&path, whole.to_owned() + &torn).expect("written");
            drop(open(&path).await);
            assert_eq!(fs::read_to_string(&path).expect("read"), whole);
        }
        for other in ["not ours", "{\"name\":\"a package\"}", "a\n2024-01-01 a log", "text\n\0\0\0\0"] {
            fs::write(&path, other).expect("written");
            let error = try_open(&path).await.err().expect("refused").to_string();
            assert_eq!(error, "it ends with something else than lines of this service; is it another file?");
            assert_eq!(fs::read_to_string(&path).expect("read"), other);
        }
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

    /// A target that keeps what is written. Each write waits for a permit, and one of them fails.
    #[derive(Clone)]
    struct Writes {
        written: Arc<Mutex<Vec<String>>>,
        permits: Arc<Mutex<std::sync::mpsc::Receiver<()>>>,
        until_failure: usize,
    }

    impl LogTarget for Writes {
        fn write(&mut self, text: &[u8]) -> io::Result<()> {
            let _ = self.permits.lock().expect("not poisoned").recv();
            self.until_failure = self.until_failure.wrapping_sub(1);
            if self.until_failure == 0 {
                return Err(io::Error::other("the disk is full"));
            }
            let lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into());
            self.written.lock().expect("not poisoned").extend(lines);
            Ok(())
        }

        fn check_space(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }
    }

    /// Starts a log of dead letters, of which this write fails. Returns what permits its writes, until it is dropped.
    fn letters(fails_at: usize) -> (AppendLog, Arc<Mutex<Vec<String>>>, std::sync::mpsc::Sender<()>) {
        let machine: Arc<dyn Machine> = Arc::new(RealMachine::new());
        let (permit, permits) = std::sync::mpsc::channel();
        let written = Arc::default();
        let writes =
            Writes { written: Arc::clone(&written), permits: Arc::new(Mutex::new(permits)), until_failure: fails_at };
        let known = Known::new(Repeats::DeadLetter);
        let log = AppendLog::start(&machine, "letters".to_owned(), Box::new(writes), known).expect("started");
        (log, written, permit)
    }

    /// Returns dead letters that are too long for one turn.
    fn long_lines(batch: &str, name: &str) -> Arc<[Line]> {
        let line = |n| {
            let line = serde_json::json!({"reason": format!("{name}-{n}"), "record": "x".repeat(TURN * 2 / 3)});
            Line::Numbered(LedgerLine::new(&line).with("batch", &batch.into()))
        };
        (0..4).map(line).collect()
    }

    #[tokio::test]
    async fn lines_of_others_come_between_the_parts_of_a_long_append() {
        let (log, written, permit) = letters(0);
        let (first, second) = (Arc::from("a-1"), Arc::from("a-2"));
        let (noisy, quiet) = (long_lines(&first, "noisy"), long_lines(&second, "quiet"));
        // Both have sent their first part before anything is written.
        let begin = async {
            drop(permit);
            Ok(())
        };
        let (noisy, quiet, both) = tokio::join!(biased;
            log.append_in_turns(&noisy, Some(&first)), log.append_in_turns(&quiet, Some(&second)), begin);
        noisy.and(quiet).and(both).expect("written");
        let lines = written.lock().expect("not poisoned").clone();
        let place = |name: &str| lines.iter().position(|line| line.contains(name)).expect(name);
        assert_eq!(lines.len(), 8);
        assert!(place("quiet-0") < place("noisy-1"), "the first one must not wait for all of the other batch");
        log.append_batch(&first, &long_lines("a-1", "noisy")).await.expect("written");
        assert_eq!(written.lock().expect("not poisoned").len(), 8, "the batch is known as a whole");
    }

    #[tokio::test]
    async fn after_a_failure_in_the_middle_each_line_is_there_once() {
        for (again, is_stored) in [("a-1", true), ("a-1", false), ("a-2", false)] {
            let (log, written, permit) = letters(2);
            drop(permit);
            let batch = Arc::from("a-1");
            let error = log.append_in_turns(&long_lines(&batch, "letter"), Some(&batch)).await.expect_err("it fails");
            assert_eq!(error.to_string(), "letters: cannot be written: the disk is full");
            log.settle(&batch, is_stored).await;
            let batch = Arc::from(again);
            log.append_in_turns(&long_lines(&batch, "letter"), Some(&batch)).await.expect("written");
            log.settle(&batch, true).await;
            // An equal line of another batch is another line.
            let other = Arc::from("b-1");
            log.append_in_turns(&long_lines(&other, "letter"), Some(&other)).await.expect("written");
            let lines = written.lock().expect("not poisoned").clone();
            let batches: Vec<_> = lines.iter().filter_map(|line| line.split('"').nth(5)).collect();
            assert_eq!(batches, ["a-1", again, again, again, "b-1", "b-1", "b-1", "b-1"], "{is_stored}");
        }
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
