//! The thread that follows stores while events flow, and the messages that wake it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::nice;
use thiserror::Error;

use super::activator::Activator;
use super::entry::{Action, Entry};
use super::followed_files::{DEBOUNCE, FilesWatched, FollowedFiles, MAX_DELAY};
use super::history::{History, HistoryError};
use super::listing::ListedPackage;
use super::policy::Policy;
use crate::package::{Package, one_line};
use crate::sandbox::Fault;

/// Interval of checking whether shadows are over.
const SHADOW_INTERVAL: Duration = Duration::from_millis(250);

/// Interval of checking the files without a notification from the system. Some file systems send none, and a removed
/// folder cannot.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Maximum time that the end of a run waits for entries that are still to be written. Together with the time in which a
/// service ends its requests, it must be less than the 40 s that `deploy/` gives a service to stop.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);

/// The niceness of the thread: a quarter of the time of others.
const NICE: i32 = 6;

/// Reads the config again. Returns policies by the number of the tenant, or what is wrong with the config.
pub type Reload = Box<dyn FnMut() -> Result<Vec<(usize, Policy)>, String> + Send>;

enum Message {
    Changed,
    Reload,
    RolledBack { tenant: usize, failed: Package, to: Package, entry: Box<Entry>, written: Result<(), HistoryError> },
    FollowNow(Sender<()>),
    List(Sender<Vec<Vec<ListedPackage>>>),
    End(Sender<()>),
}

/// Controls the thread that follows stores. The thread ends with [`finish`](Self::finish), or when the last clone is
/// dropped.
#[derive(Clone)]
pub struct Control {
    messages: Sender<Message>,
    history: Arc<History>,
    clock: fn() -> Timestamp,
    tenants: Arc<[Arc<str>]>,
    _alive: Arc<()>,
}

/// The thread that follows stores was not done in this time.
#[derive(Debug, Error)]
#[error(
    "the history may lack what happened last, such as the end of a shadow: after {} s, the thread that checks packages \
     was still busy", .0.as_secs()
)]
pub struct Unfinished(Duration);

impl Control {
    /// Requests that the config and the stores are read again.
    pub fn reload(&self) {
        self.send(Message::Reload);
    }

    /// Writes the entry for a [`Notice::RolledBack`](crate::pipeline::Notice::RolledBack) immediately, even if the
    /// activator is busy. The activator then rolls back for all judges.
    ///
    /// # Panics
    /// There is no tenant with this number.
    pub fn rolled_back(&self, tenant: usize, failed: &Package, to: &Package, fault: &Fault) {
        let reason = one_line(&format!("it {fault}, on an event on which {} did not fail", to.version()));
        let entry = Entry {
            from: Some(failed.version().clone()),
            to: Some(to.version().clone()),
            reason: Some(reason),
            ..Entry::new((self.clock)(), &self.tenants[tenant], Action::RolledBack).about(failed.candidate())
        };
        let written = {
            let _lock = self.history.lock_publishing();
            self.history.append(&entry)
        };
        let (failed, to) = (failed.clone(), to.clone());
        self.send(Message::RolledBack { tenant, failed, to, entry: Box::new(entry), written });
    }

    /// Begins to follow stores that are held, and waits until they have been read. Their candidates are checked in
    /// turns after that.
    pub fn follow_now(&self) {
        let (sender, receiver) = mpsc::channel();
        self.send(Message::FollowNow(sender));
        let _ = receiver.recv();
    }

    /// Returns the packages of each tenant with their states, by the tenant's number, after the current turn;
    /// `None` if the activator has ended.
    #[must_use]
    pub fn list(&self) -> Option<Vec<Vec<ListedPackage>>> {
        let (sender, receiver) = mpsc::channel();
        self.send(Message::List(sender));
        receiver.recv().ok()
    }

    /// Ends all shadows and the thread, and waits until the history has the entries about that, for 10 s at most.
    ///
    /// # Errors
    /// The thread is still busy, for instance with a candidate. What the history lacks then is not written any more if
    /// the process ends.
    pub fn finish(&self) -> Result<(), Unfinished> {
        let (sender, receiver) = mpsc::channel();
        self.send(Message::End(sender));
        match receiver.recv_timeout(FINISH_TIMEOUT) {
            Err(RecvTimeoutError::Timeout) => Err(Unfinished(FINISH_TIMEOUT)),
            // Without an answer, the thread had ended before.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
        }
    }

    fn send(&self, message: Message) {
        // Without the thread, the run has ended.
        let _ = self.messages.send(message);
    }
}

impl Activator {
    /// Starts a thread that follows the stores.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn run(mut self, follow: FollowedFiles, mut reload: Reload) -> std::io::Result<Control> {
        let (sender, receiver) = mpsc::channel();
        let alive = Arc::new(());
        let is_alive = Arc::downgrade(&alive);
        let control = Control {
            messages: sender.clone(),
            history: Arc::clone(&self.recorder.history),
            clock: self.recorder.clock,
            tenants: self.tenants.iter().map(|tenant| Arc::clone(&tenant.name)).collect(),
            _alive: alive,
        };
        std::thread::Builder::new().name("portcullis-activator".to_owned()).spawn(move || {
            // On Linux, this is the thread's alone. Judging has priority over checking candidates.
            let _ = nice(NICE);
            let on_change = move || {
                let _ = sender.send(Message::Changed);
            };
            let mut files = FilesWatched::new(follow, &self.paths(), on_change);
            if let Some(wrong) = files.wrong.take() {
                self.recorder
                    .problem(None, format!("{wrong}; the files are checked every {} s", POLL_INTERVAL.as_secs()));
            }
            let mut inbox = Inbox { receiver, waiting: VecDeque::new(), changing_since: None };
            // Changes from before the files were watched count too.
            let mut polled = None;
            let mut is_unfinished = false;
            let mut is_held = files.follow.held;
            while is_alive.strong_count() > 0 {
                if files.follow.stores && polled.is_none_or(|polled: Instant| polled.elapsed() >= POLL_INTERVAL) {
                    files.watch_folders(&self.paths());
                    inbox.waiting.push_back(Message::Changed);
                    polled = Some(Instant::now());
                }
                // While candidates wait for their checks, a turn comes whenever there is no message.
                let message =
                    if is_unfinished { inbox.next_now().unwrap_or(Ok(Message::Changed)) } else { inbox.next() };
                match message {
                    Ok(Message::Changed) => is_unfinished = !is_held && self.take_turn(&mut files, &mut reload),
                    Ok(message @ (Message::Reload | Message::FollowNow(_))) => {
                        if files.configs_changed() {
                            files.settle_configs();
                        }
                        self.read_config(&mut reload, matches!(message, Message::Reload));
                        is_held &= !matches!(message, Message::FollowNow(_));
                        is_unfinished = !is_held && self.take_turn(&mut files, &mut reload);
                        if let Message::FollowNow(done) = message {
                            let _ = done.send(());
                        }
                    }
                    Ok(Message::RolledBack { tenant, failed, to, entry, written }) => {
                        self.tenants[tenant].rolled_back(&failed, &to, &entry, &self.recorder);
                        self.recorder.notify_written(*entry, written);
                    }
                    Ok(Message::List(answer)) => {
                        let _ = answer.send((0..self.tenants.len()).map(|tenant| self.list_serving(tenant)).collect());
                    }
                    Ok(Message::End(done)) => {
                        self.end_shadows("the run ended before the shadow was over");
                        let _ = done.send(());
                        // Otherwise the next turn would begin the shadows again.
                        return;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                self.end_finished_shadows();
            }
        })?;
        Ok(control)
    }

    /// Reads what has changed of the config and the stores, and follows them for a turn. Returns whether candidates wait
    /// for the next turn.
    fn take_turn(&mut self, files: &mut FilesWatched, reload: &mut Reload) -> bool {
        self.scan();
        // An operator who changes the config and then puts a package relies on this order: a config that was changed
        // before these packages were found is read before they are followed.
        if files.configs_changed() {
            files.settle_configs();
            self.read_config(reload, false);
        }
        self.follow_for_a_turn()
    }

    /// Reads the config again. With `force`, refused packages are checked again even if it is unchanged.
    fn read_config(&mut self, reload: &mut Reload, force: bool) {
        match reload() {
            Ok(policies) => {
                for (tenant, policy) in policies {
                    self.set_policy(tenant, policy, force);
                }
            }
            Err(wrong) => self.recorder.problem(None, format!("{wrong}; the previous config stays in effect")),
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.stores.iter().flat_map(|store| store.paths.iter().cloned()).collect()
    }
}

/// The messages that the thread has not dealt with.
struct Inbox {
    receiver: Receiver<Message>,
    /// Messages that were received already.
    waiting: VecDeque<Message>,
    /// Time since which a change or a reload waits for further ones.
    changing_since: Option<Instant>,
}

impl Inbox {
    /// Returns the next message, or a timeout after a tick. Changes of files in quick succession become one message;
    /// other messages overtake it, but not for ever.
    fn next(&mut self) -> Result<Message, RecvTimeoutError> {
        let mut first = match self.waiting.pop_front() {
            Some(message) => message,
            None => self.receiver.recv_timeout(SHADOW_INTERVAL)?,
        };
        if !matches!(first, Message::Changed | Message::Reload) {
            return Ok(first);
        }
        let since = *self.changing_since.get_or_insert_with(Instant::now);
        while since.elapsed() < MAX_DELAY {
            match self.receiver.recv_timeout(DEBOUNCE) {
                // The message that causes more checks replaces the other.
                Ok(Message::Reload) => first = Message::Reload,
                Ok(Message::Changed) => {}
                Ok(other) => {
                    self.waiting.push_front(first);
                    return Ok(other);
                }
                Err(_) => break,
            }
        }
        self.changing_since = None;
        Ok(first)
    }

    /// Returns the most important message that is there now, without waiting. A reload comes last, and changes are not
    /// returned: the next turn finds them.
    fn next_now(&mut self) -> Option<Result<Message, RecvTimeoutError>> {
        loop {
            match self.receiver.try_recv() {
                Ok(message) => self.waiting.push_back(message),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Some(Err(RecvTimeoutError::Disconnected)),
            }
        }
        self.waiting.retain(|message| !matches!(message, Message::Changed));
        self.changing_since = None;
        let place = self.waiting.iter().position(|message| !matches!(message, Message::Reload)).unwrap_or(0);
        self.waiting.remove(place).map(Ok)
    }
}
