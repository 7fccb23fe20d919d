//! Files that lines are appended to: whole, on the disk before it is said that they are, and many at a time.
//!
//! A journal has a thread of its own. What comes while it writes is written together the next time, so that the disk is waited
//! for once and not for each. After a process that was killed, a line that is not whole is taken away: who sent it was never
//! told that it is safe.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis::Unnumbered;
use serde_json::Value;
use tokio::sync::oneshot;

use super::recent::{Id, Recent};

/// A line to be appended.
pub(super) enum Line {
    /// Gets the next number.
    Numbered(Unnumbered),
    /// Is there once, however often it comes.
    Once(Id, Arc<str>),
}

/// Why lines were not appended: none of them was.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotWritten(pub(super) String);

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

/// So far from its end a file is read when it is opened, for the ids of the alerts in it.
const TAIL: u64 = 16 << 20;

/// The near end of a journal.
#[derive(Clone)]
pub(super) struct Journal {
    requests: SyncSender<Request>,
    wrong: Arc<Mutex<Option<String>>>,
}

impl Journal {
    /// The journal in this file, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be opened, or read.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut past = Past::default();
        let lines = LineFile::open(path, &mut past)?;
        Self::start(path.display().to_string(), Box::new(lines), past)
    }

    /// Standard output.
    pub(super) fn standard_output() -> io::Result<Self> {
        Self::start("standard output".to_owned(), Box::new(StandardOutput), Past::default())
    }

    /// One that is written to this place, which already has what is past.
    pub(super) fn start(name: String, place: Box<dyn Place>, past: Past) -> io::Result<Self> {
        let (requests, receiver) = sync_channel(WAITING);
        let wrong = Arc::default();
        let journal = Self { requests, wrong: Arc::clone(&wrong) };
        let target = Target { name, place, past };
        std::thread::Builder::new()
            .name("portcullis-journal".to_owned())
            .spawn(move || target.serve(&receiver, &wrong))?;
        Ok(journal)
    }

    /// Appends lines, all or none. When this is answered, they are on the disk.
    pub(super) async fn append(&self, lines: Vec<Line>) -> Answer {
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
    pub(super) fn append_and_wait(&self, lines: Vec<Line>) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.requests.send(Request::Append(lines, sender)).map_err(|_| ended())?;
        answer.blocking_recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Has the file opened anew: somebody has moved it away.
    pub(super) fn reopen(&self) {
        // A thread that is so far behind opens it at the next time.
        let _ = self.requests.try_send(Request::Reopen);
    }

    /// What was wrong when it was written to last.
    pub(super) fn wrong(&self) -> Option<String> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn ended() -> NotWritten {
    NotWritten("nothing is written any more".to_owned())
}

/// Where lines come to be.
pub(super) trait Place: Send {
    /// Writes all of a text, to the disk if there is one, or leaves everything as it was.
    fn write(&mut self, text: &[u8]) -> io::Result<()>;

    /// Whether so many bytes could be written now, as far as that can be told without writing.
    fn look(&mut self, bytes: u64) -> io::Result<()>;

    /// Opens what is under its name anew.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is known of the lines that are there.
#[derive(Default)]
pub(super) struct Past {
    /// The number of the next line.
    pub(super) next: u64,
    /// The alerts among the last of them.
    pub(super) recent: Recent,
}

struct Target {
    name: String,
    place: Box<dyn Place>,
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
    fn write_down(&mut self, lines: Vec<Line>, text: &mut Vec<u8>, ids: &mut Vec<Id>) {
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

impl Place for StandardOutput {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let mut output = io::stdout().lock();
        output.write_all(text)?;
        output.flush()
    }

    fn look(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// A file of whole lines.
pub(super) struct LineFile {
    path: PathBuf,
    file: File,
    /// Behind its last whole line.
    pub(super) end: u64,
}

impl LineFile {
    /// Opens or makes it, takes away a last line that is not whole, and adds what is in it to what is past.
    pub(super) fn open(path: &Path, past: &mut Past) -> io::Result<Self> {
        let mut file = open(path)?;
        let end = look_back(&mut file, past)?;
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        Ok(Self { path: path.to_owned(), file, end })
    }
}

impl Place for LineFile {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(text).and_then(|()| self.file.sync_data());
        if written.is_ok() {
            self.end += text.len() as u64;
        } else {
            let end = self.end;
            let back = self.file.set_len(end).and_then(|()| self.file.seek(SeekFrom::Start(end)));
            if let Err(error) = back {
                tracing::error!("{}: what was not written whole cannot be taken away: {error}", self.path.display());
            }
        }
        written
    }

    fn look(&mut self, bytes: u64) -> io::Result<()> {
        self.file.sync_data()?;
        let disk = rustix::fs::fstatvfs(&self.file)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        let mut opened = open(&self.path)?;
        self.end = opened.seek(SeekFrom::End(0))?;
        self.file = opened;
        Ok(())
    }
}

/// Opens a file, whose name is then on the disk too.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

/// Where the last whole line of a file ends. What stands in its end is added to what is past.
fn look_back(file: &mut File, past: &mut Past) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let Some(end) = memchr::memrchr(b'\n', &tail) else {
        let wrong = || io::Error::other("its last line is longer than any that is written here");
        return if from == 0 { Ok(0) } else { Err(wrong()) };
    };
    // What the tail begins with may be the rest of a line, which is then no JSON.
    for line in tail[..end].split(|byte| *byte == b'\n') {
        // A spool has the time before each.
        let line = memchr::memchr(b'{', line).map_or(line, |start| &line[start..]);
        let Ok(line) = serde_json::from_slice::<Value>(line) else { continue };
        let ids = [&line["alert_id"], &line["finding_info"]["uid"]];
        if let Some(id) = ids.into_iter().find_map(|id| Id::of(id.as_str()?)) {
            past.recent.add(id);
        }
        if let Some(n) = line["n"].as_u64() {
            past.next = n + 1;
        }
    }
    Ok(from + end as u64 + 1)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn once(id: &str) -> Line {
        Line::Once(Id::of(id).expect("an id"), format!("{{\"alert_id\":\"{id}\"}}").into())
    }

    const FIRST: &str = "00000000000000000000000000000001";
    const SECOND: &str = "00000000000000000000000000000002";

    #[test]
    fn an_alert_is_there_once_and_a_line_that_is_not_whole_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alerts.ndjson");
        let journal = Journal::open(&path).expect("opened");
        journal.append_and_wait(vec![once(FIRST), once(FIRST)]).expect("written");
        drop(journal);
        let mut torn = OpenOptions::new().append(true).open(&path).expect("opened");
        torn.write_all(b"{\"alert_id\":\"0000000000").expect("written");
        let journal = Journal::open(&path).expect("opened");
        journal.append_and_wait(vec![once(FIRST), once(SECOND)]).expect("written");
        let expected = format!("{{\"alert_id\":\"{FIRST}\"}}\n{{\"alert_id\":\"{SECOND}\"}}\n");
        assert_eq!(fs::read_to_string(path).expect("read"), expected);
    }

    #[test]
    fn numbers_go_on_and_a_file_that_was_moved_away_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.ndjson");
        let line = || vec![Line::Numbered(Unnumbered::new(&serde_json::json!({"outcome": "ignored"})))];
        let journal = Journal::open(&path).expect("opened");
        journal.append_and_wait(line()).expect("written");
        drop(journal);
        let journal = Journal::open(&path).expect("opened");
        journal.append_and_wait(line()).expect("written");
        fs::rename(&path, folder.path().join("ledger.1")).expect("renamed");
        journal.reopen();
        journal.append_and_wait(line()).expect("written");
        journal.append_and_wait(line()).expect("written");
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
        let full = LineFile { path: "/dev/full".into(), file, end: 0 };
        let journal = Journal::start("full".to_owned(), Box::new(full), Past::default());
        let journal = journal.expect("started");
        let answer = journal.append_and_wait(vec![once(FIRST)]);
        assert!(answer.expect_err("no room").to_string().contains("cannot be written"));
        assert!(journal.wrong().is_some());
    }
}
