//! The files that are followed while events flow: the system notifies of changes, and config files are compared too.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// Files are read when they have not changed for this long, because copying a folder makes many changes.
pub(super) const DEBOUNCE: Duration = Duration::from_millis(100);

/// Maximum delay of reading files that keep changing.
pub(super) const MAX_DELAY: Duration = Duration::from_secs(1);

/// Files that are followed.
#[derive(Default)]
pub struct FollowedFiles {
    /// Whether stores are followed. Otherwise only [`Control::reload`](super::Control::reload) reads them again.
    pub stores: bool,
    /// Whether stores are not read before [`Control::follow_now`](super::Control::follow_now), because their files are still to come.
    pub held: bool,
    /// Config files. When one changes, the config is read again.
    pub configs: Vec<PathBuf>,
}

/// The files that the system watches.
pub(super) struct FilesWatched {
    pub(super) follow: FollowedFiles,
    watcher: Option<RecommendedWatcher>,
    /// Device and inode of each watched folder: a folder that was removed and created again needs a new watch.
    folders: HashMap<PathBuf, (u64, u64)>,
    /// Inode, length and time of the config files when they were checked last.
    configs: Vec<Option<(u64, u64, SystemTime)>>,
    /// Why the system cannot notify of changes.
    pub(super) wrong: Option<String>,
}

impl FilesWatched {
    /// Returns the files to follow, with stores at these paths. `notify` is called when
    /// one may have changed.
    pub(super) fn new(follow: FollowedFiles, stores: &[PathBuf], notify: impl Fn() + Send + 'static) -> Self {
        let names = |paths: &[PathBuf]| -> Vec<OsString> {
            paths.iter().filter_map(|path| path.file_name().map(OsStr::to_owned)).collect()
        };
        let names = [names(&follow.configs), names(stores)].concat();
        let on_event = move |event: notify::Result<notify::Event>| {
            let is_followed = |name: &OsStr| is_store_file(name) || names.iter().any(|followed| followed == name);
            match event {
                // Reading files causes events too.
                Ok(event) if is_read_access(event.kind) => {}
                // Another file in the folder, such as a ledger.
                Ok(event) if !event.paths.iter().filter_map(|path| path.file_name()).any(is_followed) => {}
                _ => notify(),
            }
        };
        let (watcher, wrong) = match (follow.stores, notify::recommended_watcher(on_event)) {
            (false, _) => (None, None),
            (true, Ok(watcher)) => (Some(watcher), None),
            (true, Err(error)) => (None, Some(format!("the system cannot notify of changed files: {error}"))),
        };
        Self { follow, watcher, folders: HashMap::new(), configs: Vec::new(), wrong }
    }

    /// Returns whether a config file is followed, and was replaced or written to since the last call.
    pub(super) fn configs_changed(&mut self) -> bool {
        if !self.follow.stores {
            return false;
        }
        let stamp = |config: &PathBuf| {
            let metadata = fs::metadata(config).ok()?;
            Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
        };
        let now: Vec<_> = self.follow.configs.iter().map(stamp).collect();
        std::mem::replace(&mut self.configs, now.clone()) != now
    }

    /// Waits until the config files have not changed for a moment: an editor may have written half of one.
    pub(super) fn settle_configs(&mut self) {
        let began = Instant::now();
        loop {
            std::thread::sleep(DEBOUNCE);
            if !self.configs_changed() || began.elapsed() >= MAX_DELAY {
                return;
            }
        }
    }

    /// Watches the folders that are not watched yet, or that were replaced.
    pub(super) fn watch_folders(&mut self, stores: &[PathBuf]) {
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
