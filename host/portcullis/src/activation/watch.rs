//! The thread that follows stores while events flow, and what wakes it.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::activator::Activator;
use super::history::{Action, Entry, History, HistoryError};
use super::listing::Listed;
use super::policy::Policy;
use crate::package::{Package, one_line};
use crate::sandbox::Fault;

/// How long files must be left alone before they are looked at: who copies a folder makes many changes.
const QUIET: Duration = Duration::from_millis(100);

/// After so long they are looked at all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often shadows are looked after.
const TICK: Duration = Duration::from_millis(250);

/// How often files are looked at without being told: some file systems tell nothing, and a folder that is gone cannot.
const LOOK: Duration = Duration::from_secs(2);

/// How long the end of a run waits for what is still to be written into the history.
const FAREWELL: Duration = Duration::from_secs(5);

/// What reads the config again: the policies of the tenants, by their numbers, or what is wrong with it.
pub type Reload = Box<dyn FnMut() -> Result<Vec<(usize, Policy)>, String> + Send>;

/// What is followed without being asked to.
#[derive(Default)]
pub struct Watched {
    /// Whether the stores are: else only [`Control::reload`] looks at them.
    pub stores: bool,
    /// Files whose change is a reason to read the config again.
    pub configs: Vec<PathBuf>,
}

enum Message {
    StoresChanged,
    ConfigChanged,
    Reload,
    RolledBack { tenant: usize, failed: Package, to: Package, entry: Box<Entry>, written: Result<(), HistoryError> },
    List(Sender<Vec<Vec<Listed>>>),
    End(Sender<()>),
}

/// The other end of the thread that follows stores; it ends with the last of these.
#[derive(Clone)]
pub struct Control {
    messages: Sender<Message>,
    history: Arc<History>,
    clock: fn() -> Timestamp,
    tenants: Arc<[Arc<str>]>,
    _alive: Arc<()>,
}

impl Control {
    /// Has the config and the stores read again.
    pub fn reload(&self) {
        self.send(Message::Reload);
    }

    /// Writes down what a judge has told in a [`Notice::RolledBack`](crate::pipeline::Notice::RolledBack), at once, whatever the
    /// activator has in hand; and has the activator do for all judges what that one did.
    ///
    /// # Panics
    /// There is no tenant of this number.
    pub fn rolled_back(&self, tenant: usize, failed: &Package, to: &Package, fault: &Fault) {
        let reason = one_line(&format!("it {fault}, on an event on which {} did not", to.version()));
        let entry = Entry {
            from: Some(failed.version().clone()),
            to: Some(to.version().clone()),
            reason: Some(reason),
            ..Entry::of((self.clock)(), &self.tenants[tenant], Action::RolledBack).about(failed.candidate())
        };
        let written = {
            let _turn = self.history.turn();
            self.history.append(&entry)
        };
        let (failed, to) = (failed.clone(), to.clone());
        self.send(Message::RolledBack { tenant, failed, to, entry: Box::new(entry), written });
    }

    /// What there is of each tenant's rules, by its number, and how it stands; as soon as the activator has nothing in hand.
    /// None if it is gone.
    #[must_use]
    pub fn list(&self) -> Option<Vec<Vec<Listed>>> {
        let (sender, receiver) = mpsc::channel();
        self.send(Message::List(sender));
        receiver.recv().ok()
    }

    /// Waits until what was reported is in the history, for some seconds at most.
    pub fn finish(&self) {
        let (sender, receiver) = mpsc::channel();
        self.send(Message::End(sender));
        let _ = receiver.recv_timeout(FAREWELL);
    }

    fn send(&self, message: Message) {
        // It ends with the process.
        let _ = self.messages.send(message);
    }
}

impl Activator {
    /// Follows the stores from now on, on a thread of its own.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn run(mut self, follow: Watched, mut reload: Reload) -> std::io::Result<Control> {
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
            let mut files = FilesWatched::new(follow, &self.paths(), sender);
            if let Some(wrong) = files.wrong.take() {
                self.recorder.problem(None, format!("{wrong}; the files are looked at every {} s", LOOK.as_secs()));
            }
            let mut waiting = VecDeque::new();
            // What changed before it was watched counts too.
            let mut looked = None;
            while is_alive.strong_count() > 0 {
                if files.follow.stores && looked.is_none_or(|looked: Instant| looked.elapsed() >= LOOK) {
                    files.renew(&self.paths());
                    let changed = files.configs_changed();
                    waiting.push_back(if changed { Message::ConfigChanged } else { Message::StoresChanged });
                    looked = Some(Instant::now());
                }
                match next(&receiver, &mut waiting) {
                    Ok(Message::StoresChanged) => self.follow(),
                    Ok(message @ (Message::ConfigChanged | Message::Reload)) => {
                        files.configs_changed();
                        match reload() {
                            Ok(policies) => {
                                for (tenant, policy) in policies {
                                    self.reconsider(tenant, policy, matches!(message, Message::Reload));
                                }
                            }
                            Err(wrong) => self.recorder.problem(None, format!("{wrong}; all stays as it was")),
                        }
                        self.follow();
                    }
                    Ok(Message::RolledBack { tenant, failed, to, entry, written }) => {
                        self.tenants[tenant].rolled_back(&failed, &to, &entry, &self.recorder);
                        self.recorder.tell_written(*entry, written);
                    }
                    Ok(Message::List(answer)) => {
                        let _ = answer.send((0..self.tenants.len()).map(|tenant| self.list_at_work(tenant)).collect());
                    }
                    Ok(Message::End(done)) => {
                        self.end_shadows("the run has ended before it has seen enough");
                        let _ = done.send(());
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                self.look_after_shadows();
            }
        })?;
        Ok(control)
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.stores.iter().flat_map(|store| store.paths.iter().cloned()).collect()
    }
}

/// The next message, after a tick at the latest. A change of files is one with all that follow it closely; what else
/// comes meanwhile goes first.
fn next(receiver: &Receiver<Message>, waiting: &mut VecDeque<Message>) -> Result<Message, RecvTimeoutError> {
    let mut first = match waiting.pop_front() {
        Some(message) => message,
        None => receiver.recv_timeout(TICK)?,
    };
    let is_change =
        |message: &Message| matches!(message, Message::StoresChanged | Message::ConfigChanged | Message::Reload);
    if !is_change(&first) {
        return Ok(first);
    }
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match receiver.recv_timeout(QUIET) {
            // The one that has more looked at counts.
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

/// The folders that the system tells about.
struct FilesWatched {
    follow: Watched,
    watcher: Option<RecommendedWatcher>,
    /// By their devices and numbers there: one that was removed and made again is another.
    folders: HashMap<PathBuf, (u64, u64)>,
    /// What the configs' files were like when they were looked at last.
    configs: Vec<Option<(u64, u64, SystemTime)>>,
    wrong: Option<String>,
}

impl FilesWatched {
    fn new(follow: Watched, stores: &[PathBuf], sender: Sender<Message>) -> Self {
        let names = |paths: &[PathBuf]| -> Vec<OsString> {
            paths.iter().filter_map(|path| path.file_name().map(OsStr::to_owned)).collect()
        };
        let (configs, stores) = (names(&follow.configs), names(stores));
        let on_event = move |event: notify::Result<notify::Event>| {
            let message = match event {
                // Looking at files is an event too.
                Ok(event) if is_reading(event.kind) => return,
                Ok(event) => {
                    let has = |is_one: &dyn Fn(&OsStr) -> bool| {
                        event.paths.iter().filter_map(|path| path.file_name()).any(is_one)
                    };
                    if has(&|name| configs.iter().any(|config| config == name)) {
                        Message::ConfigChanged
                    } else if has(&|name| is_of_a_store(name) || stores.iter().any(|store| store == name)) {
                        Message::StoresChanged
                    } else {
                        // What else lies there, a ledger that is written to.
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
            (true, Err(error)) => (None, Some(format!("the system does not tell when files change: {error}"))),
        };
        Self { follow, watcher, folders: HashMap::new(), configs: Vec::new(), wrong }
    }

    /// Whether a config is another file than it was, or has been written to.
    fn configs_changed(&mut self) -> bool {
        let stamp = |config: &PathBuf| {
            let metadata = fs::metadata(config).ok()?;
            Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
        };
        let now: Vec<_> = self.follow.configs.iter().map(stamp).collect();
        std::mem::replace(&mut self.configs, now.clone()) != now
    }

    /// Watches the folders that are not watched yet, or not these any more.
    fn renew(&mut self, stores: &[PathBuf]) {
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

/// Whether a file's name is one of a package, or of a link by which Kubernetes changes a whole folder at once.
fn is_of_a_store(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "wasm") || name.as_encoded_bytes().starts_with(b"..")
}

fn is_reading(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}
