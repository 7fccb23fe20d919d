//! The thread that follows stores while events flow, and the messages that wake it.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use rustix::process::nice;
use thiserror::Error;

use super::activator::Activator;
use super::entry::{Action, Entry};
use super::history::{History, HistoryError};
use super::listing::ListedPackage;
use super::policy::Policy;
use crate::package::{Package, one_line};
use crate::sandbox::Fault;

/// Files are read when they have not changed for this long, because copying a folder makes many changes.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Maximum delay of reading files that keep changing.
const MAX_DELAY: Duration = Duration::from_secs(1);

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

/// Files that are followed.
#[derive(Default)]
pub struct FollowedFiles {
    /// Whether stores are followed. Otherwise only [`Control::reload`] reads them again.
    pub stores: bool,
    /// Whether stores are not read before [`Control::follow_now`], because their files are still to come.
    pub held: bool,
    /// Config files. When one changes, the config is read again.
    pub configs: Vec<PathBuf>,
}

enum Message {
    StoresChanged,
    ConfigChanged,
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
            let mut files = FilesWatched::new(follow, &self.paths(), sender);
            if let Some(wrong) = files.wrong.take() {
                self.recorder
                    .problem(None, format!("{wrong}; the files are checked every {} s", POLL_INTERVAL.as_secs()));
            }
            let mut waiting = VecDeque::new();
            // Changes from before the files were watched count too.
            let mut polled = None;
            let mut is_unfinished = false;
            let mut is_held = files.follow.held;
            while is_alive.strong_count() > 0 {
                if files.follow.stores && polled.is_none_or(|polled: Instant| polled.elapsed() >= POLL_INTERVAL) {
                    files.watch_folders(&self.paths());
                    let changed = files.configs_changed();
                    waiting.push_back(if changed { Message::ConfigChanged } else { Message::StoresChanged });
                    polled = Some(Instant::now());
                }
                // While candidates wait for their checks, a turn comes whenever there is no message.
                let message = if is_unfinished {
                    next_now(&receiver, &mut waiting).unwrap_or(Ok(Message::StoresChanged))
                } else {
                    next(&receiver, &mut waiting)
                };
                match message {
                    Ok(Message::StoresChanged) => is_unfinished = !is_held && self.follow_for_a_turn(),
                    Ok(message @ (Message::ConfigChanged | Message::Reload | Message::FollowNow(_))) => {
                        files.configs_changed();
                        match reload() {
                            Ok(policies) => {
                                for (tenant, policy) in policies {
                                    self.set_policy(tenant, policy, matches!(message, Message::Reload));
                                }
                            }
                            Err(wrong) => {
                                self.recorder.problem(None, format!("{wrong}; the previous config stays in effect"));
                            }
                        }
                        is_held &= !matches!(message, Message::FollowNow(_));
                        is_unfinished = !is_held && self.follow_for_a_turn();
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

    fn paths(&self) -> Vec<PathBuf> {
        self.stores.iter().flat_map(|store| store.paths.iter().cloned()).collect()
    }
}

/// Returns the next message, or a timeout after a tick. Changes of files in quick succession become one message; other
/// messages overtake it.
fn next(receiver: &Receiver<Message>, waiting: &mut VecDeque<Message>) -> Result<Message, RecvTimeoutError> {
    let mut first = match waiting.pop_front() {
        Some(message) => message,
        None => receiver.recv_timeout(SHADOW_INTERVAL)?,
    };
    let is_change =
        |message: &Message| matches!(message, Message::StoresChanged | Message::ConfigChanged | Message::Reload);
    if !is_change(&first) {
        return Ok(first);
    }
    let began = Instant::now();
    while began.elapsed() < MAX_DELAY {
        match receiver.recv_timeout(DEBOUNCE) {
            // The message that causes more checks replaces the other.
            Ok(message) if is_change(&message) => match (&first, &message) {
                (_, Message::Reload) | (Message::StoresChanged, _) => first = message,
                _ => {}
            },
            Ok(other) => {
                waiting.push_front(first);
                return Ok(other);
            }
            Err(_) => break,
        }
    }
    Ok(first)
}

/// Returns the most important message that is there now, without waiting: changes of the config and of stores come last.
fn next_now(
    receiver: &Receiver<Message>,
    waiting: &mut VecDeque<Message>,
) -> Option<Result<Message, RecvTimeoutError>> {
    loop {
        match receiver.try_recv() {
            Ok(message) => waiting.push_back(message),
            Err(TryRecvError::Empty) => break,
            Err(TryRecvError::Disconnected) => return Some(Err(RecvTimeoutError::Disconnected)),
        }
    }
    let is_store = |message: &Message| matches!(message, Message::StoresChanged);
    waiting.retain(|message| !is_store(message));
    let is_change = |message: &Message| matches!(message, Message::ConfigChanged | Message::Reload);
    let place = waiting.iter().position(|message| !is_change(message)).unwrap_or(0);
    waiting.remove(place).map(Ok)
}

/// The files that the system watches.
struct FilesWatched {
    follow: FollowedFiles,
    watcher: Option<RecommendedWatcher>,
    /// Device and inode of each watched folder: a folder that was removed and created again needs a new watch.
    folders: HashMap<PathBuf, (u64, u64)>,
    /// Inode, length and time of the config files when they were checked last.
    configs: Vec<Option<(u64, u64, SystemTime)>>,
    wrong: Option<String>,
}

impl FilesWatched {
    fn new(follow: FollowedFiles, stores: &[PathBuf], sender: Sender<Message>) -> Self {
        let names = |paths: &[PathBuf]| -> Vec<OsString> {
            paths.iter().filter_map(|path| path.file_name().map(OsStr::to_owned)).collect()
        };
        let (configs, stores) = (names(&follow.configs), names(stores));
        let on_event = move |event: notify::Result<notify::Event>| {
            let message = match event {
                // Reading files causes events too.
                Ok(event) if is_read_access(event.kind) => return,
                Ok(event) => {
                    let has = |is_one: &dyn Fn(&OsStr) -> bool| {
                        event.paths.iter().filter_map(|path| path.file_name()).any(is_one)
                    };
                    if has(&|name| configs.iter().any(|config| config == name)) {
                        Message::ConfigChanged
                    } else if has(&|name| is_store_file(name) || stores.iter().any(|store| store == name)) {
                        Message::StoresChanged
                    } else {
                        // Another file in the folder, such as a ledger.
                        return;
                    }
                }
                Err(_) => Message::StoresChanged,
            };
            let _ = sender.send(message);
        };
        let (watcher, wrong) = match (follow.stores, notify::recommended_watcher(on_event)) {
            (false, _) => (None, None),
            (true, Ok(watcher)) => (Some(watcher), None),
            (true, Err(error)) => (None, Some(format!("the system cannot notify of changed files: {error}"))),
        };
        Self { follow, watcher, folders: HashMap::new(), configs: Vec::new(), wrong }
    }

    /// Returns whether a config file was replaced or written to since the last call.
    fn configs_changed(&mut self) -> bool {
        let stamp = |config: &PathBuf| {
            let metadata = fs::metadata(config).ok()?;
            Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
        };
        let now: Vec<_> = self.follow.configs.iter().map(stamp).collect();
        std::mem::replace(&mut self.configs, now.clone()) != now
    }

    /// Watches the folders that are not watched yet, or that were replaced.
    fn watch_folders(&mut self, stores: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        for path in stores.iter().chain(&self.follow.configs) {
            let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let Ok(metadata) = fs::metadata(folder) else { continue };
            let identity = (metadata.dev(), metadata.ino());
            if self.folders.get(folder) == Some(&identity) {
                continue;
            }
            let _ = watcher.unwatch(folder);
            if watcher.watch(folder, RecursiveMode::NonRecursive).is_ok() {
                self.folders.insert(folder.to_owned(), identity);
            }
        }
    }
}

/// Returns whether a file name is that of a package, or of a link with which Kubernetes replaces a whole folder
/// atomically.
fn is_store_file(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "wasm") || name.as_encoded_bytes().starts_with(b"..")
}

fn is_read_access(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}
