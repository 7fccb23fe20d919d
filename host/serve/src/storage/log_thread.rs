//! The thread of an append log. Lines that arrive while it writes are written together the next time, so that they share
//! one sync of the disk. Of a write that fails, nothing stays known.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis::pipeline::LedgerLine;
use tokio::sync::{mpsc, oneshot};

use super::known::{Known, LineId, Repeats, content};
use super::log_file::LogTarget;
use crate::machine::{Machine, within};

/// A line to append.
pub(crate) enum Line {
    /// A line that gets the next number.
    Numbered(LedgerLine),
    /// The line of an alert.
    Alert(LineId, Arc<str>),
}

impl Line {
    /// Returns its approximate length in bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbered(line) => line.len(),
            Self::Alert(_, line) => line.len(),
        }
    }
}

/// The reason why lines were not appended.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotWritten(pub(crate) String);

pub(super) type Answer = Result<(), NotWritten>;

pub(super) enum Request {
    /// Appends lines, all or none.
    Append(Part, oneshot::Sender<Answer>),
    /// Notes whether a batch was stored completely.
    Settle(Arc<str>, bool),
    /// Wakes the thread, so that it reopens the file.
    Wake,
}

/// Lines that are appended at once.
pub(super) struct Part {
    /// The lines to which it belongs. With a batch, they are all lines of this batch.
    pub(super) lines: Arc<[Line]>,
    /// Which of these lines it is. Those before it are written.
    pub(super) range: Range<usize>,
    pub(super) batch: Option<Arc<str>>,
}

/// The number of bytes after which it is another caller's turn. A single line may be longer.
pub(super) const TURN: usize = 1 << 20;

/// The interval at which a log that could not be written or reopened is checked. Clients send nothing while the service
/// is not ready, so a write would not find out.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What the handles of a log and its thread share.
#[derive(Default)]
pub(super) struct Shared {
    problem: Mutex<Option<String>>,
    /// Whether the file must be reopened.
    pub(super) reopens: AtomicBool,
}

impl Shared {
    /// Returns why the last write failed, if it did.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// The thread of a log.
pub(super) struct LogThread {
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
    /// The batches in it, with the number of lines that each had before, and how many of these are unsettled.
    batches: Vec<(Arc<str>, usize, usize)>,
    /// The ids of lines that are there already, from batches that were refused.
    refused: Vec<LineId>,
}

impl LogThread {
    pub(super) fn new(
        name: String,
        target: Box<dyn LogTarget>,
        known: Known,
        machine: Arc<dyn Machine>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { name, target, known, machine, shared, unwritten: None }
    }

    /// Writes what is requested, until all handles are gone.
    pub(super) async fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
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
                Request::Append(part, answer) => {
                    self.add_lines(part, &mut round);
                    round.answers.push(answer);
                }
                Request::Settle(batch, is_stored) => self.known.settle(&batch, is_stored),
                Request::Wake => {}
            }
            next = if round.text.len() < TURN { requests.try_recv().ok() } else { None };
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
                for (batch, lines, unsettled) in batches.into_iter().rev() {
                    // What was not written must not count as written when the batch is refused.
                    self.known.cut_unsettled(&batch, unsettled);
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
    fn add_lines(&mut self, Part { lines, range, batch }: Part, round: &mut Round) {
        let written = batch.as_deref().map_or(0, |batch| self.known.lines_of(batch));
        if let Some(batch) = &batch {
            round.batches.push((Arc::clone(batch), written, self.known.unsettled_of(batch)));
        }
        for line in lines[..range.end].iter().skip(written.max(range.start)) {
            match line {
                Line::Numbered(line) => {
                    let start = round.text.len();
                    line.write_numbered(self.known.next, &mut round.text);
                    if self.known.repeats == Repeats::DeadLetter {
                        let id = content(&round.text[start..]);
                        if self.is_there(id, batch.as_ref(), round) {
                            round.text.truncate(start);
                            continue;
                        }
                    }
                    self.known.next += 1;
                }
                Line::Alert(id, line) if self.is_new(*id, round) => round.text.extend_from_slice(line.as_bytes()),
                Line::Alert(..) => continue,
            }
            round.text.push(b'\n');
        }
        if let Some(batch) = batch {
            self.known.set_lines_of(batch, range.end.max(written));
        }
    }

    /// Returns whether a dead letter is there already: that of an alert once, that of a record if its batch was refused
    /// after it was written.
    fn is_there(&mut self, id: LineId, batch: Option<&Arc<str>>, round: &mut Round) -> bool {
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
