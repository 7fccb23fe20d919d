//! A disk that fills, fails, and loses at a crash what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::dice::Dice;
use crate::machine::{AppendFile, Disk};

/// A machine's disk, which outlives processes.
#[derive(Clone)]
pub(super) struct Platter(Arc<Mutex<State>>);

struct State {
    dice: Dice,
    files: BTreeMap<PathBuf, File>,
    /// Whether nothing more fits.
    is_full: bool,
    /// Whether operations fail now and then.
    is_failing: bool,
    /// The number of faults so far.
    faults: u64,
    /// The process that is alive, by number.
    process: u64,
    /// The number of operations until the process dies, if it is to die in one.
    dies_in: Option<u64>,
    is_dead: bool,
}

/// A file: its content, and what of it would survive a crash.
#[derive(Clone, Default)]
struct File {
    content: Vec<u8>,
    durable: Vec<u8>,
    /// The process that has it open.
    open: Option<u64>,
}

/// The disk as a process sees it.
#[derive(Clone)]
pub(super) struct ProcessDisk {
    platter: Platter,
    process: u64,
}

struct OpenFile {
    disk: ProcessDisk,
    path: PathBuf,
}

/// A moment in an operation.
enum Fault {
    Crash,
    Error,
}

impl Platter {
    pub(super) fn new(dice: Dice) -> Self {
        Self(Arc::new(Mutex::new(State {
            dice,
            files: BTreeMap::new(),
            is_full: false,
            is_failing: false,
            faults: 0,
            process: 0,
            dies_in: None,
            is_dead: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the next process.
    pub(super) fn start(&self) -> ProcessDisk {
        let mut state = self.lock();
        state.process += 1;
        state.is_dead = false;
        state.dies_in = None;
        ProcessDisk { platter: self.clone(), process: state.process }
    }

    /// Ends the process. The disk loses some of what was not synced: of an append a part may be there, and a file that
    /// was shortened may have its previous length.
    pub(super) fn crash(&self) {
        let mut state = self.lock();
        state.is_dead = true;
        let dice = state.dice.clone();
        for file in state.files.values_mut() {
            if file.content.starts_with(&file.durable) {
                let more = dice.index(file.content.len() - file.durable.len() + 1);
                file.content.truncate(file.durable.len() + more);
            } else if dice.once_in(2) {
                file.content.clone_from(&file.durable);
            }
            file.durable.clone_from(&file.content);
            file.open = None;
        }
    }

    pub(super) fn set_full(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    pub(super) fn set_failing(&self, is_failing: bool) {
        self.lock().is_failing = is_failing;
    }

    /// Lets the process die in one of its next operations.
    pub(super) fn die_in(&self, operations: u64) {
        self.lock().dies_in = Some(operations);
    }

    /// Takes back [`die_in`](Self::die_in).
    pub(super) fn never_die(&self) {
        self.lock().dies_in = None;
    }

    /// Puts a file there, as an operator does.
    pub(super) fn put(&self, path: &Path, bytes: &[u8]) {
        let file = File { content: bytes.to_vec(), durable: bytes.to_vec(), open: None };
        self.lock().files.insert(path.to_owned(), file);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.lock().is_dead
    }

    pub(super) fn faults(&self) -> u64 {
        self.lock().faults
    }

    /// Returns the names of the files in a folder.
    pub(super) fn names(&self, folder: &Path) -> Vec<PathBuf> {
        self.lock().files.keys().filter(|path| path.parent() == Some(folder)).cloned().collect()
    }

    /// Returns the lines of a file.
    pub(super) fn lines(&self, path: &str) -> Vec<String> {
        let state = self.lock();
        let content = state.files.get(Path::new(path)).map(|file| &*file.content).unwrap_or_default();
        String::from_utf8_lossy(content).lines().map(str::to_owned).collect()
    }
}

impl State {
    /// Checks that the process may do an operation.
    fn begin(&mut self, process: u64) -> io::Result<()> {
        if self.is_dead || process != self.process {
            return Err(io::Error::other("the process is dead"));
        }
        Ok(())
    }

    /// Returns the fault that happens at this moment, if one does.
    fn fault(&mut self) -> Option<Fault> {
        if let Some(left) = &mut self.dies_in {
            if *left == 0 {
                self.dies_in = None;
                self.is_dead = true;
                self.faults += 1;
                return Some(Fault::Crash);
            }
            *left -= 1;
        }
        if self.is_failing && self.dice.once_in(4) {
            self.faults += 1;
            return Some(Fault::Error);
        }
        None
    }

    fn check(&mut self) -> io::Result<()> {
        match self.fault() {
            None => Ok(()),
            Some(Fault::Crash) => Err(io::Error::other("the process dies")),
            Some(Fault::Error) => Err(io::Error::other("input/output error")),
        }
    }

    fn has_space(&mut self) -> io::Result<()> {
        if self.is_full {
            self.faults += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> io::Result<&mut File> {
        self.files.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl ProcessDisk {
    fn begin(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.platter.lock();
        state.begin(self.process)?;
        Ok(state)
    }
}

impl Disk for ProcessDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let mut state = self.begin()?;
        let process = self.process;
        let file = state.files.entry(path.to_owned()).or_default();
        if file.open == Some(process) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        file.open = Some(process);
        Ok(Box::new(OpenFile { disk: self.clone(), path: path.to_owned() }))
    }

    fn create_folder(&self, _: &Path) -> io::Result<()> {
        self.begin().map(drop)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.begin()?;
        let names = state.files.keys().filter(|path| path.parent() == Some(folder));
        Ok(names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn read(&self, path: &Path, from: u64, most: u64) -> io::Result<Vec<u8>> {
        let mut state = self.begin()?;
        let bytes = &state.file(path)?.content;
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        let end = from.saturating_add(usize::try_from(most).unwrap_or(usize::MAX)).min(bytes.len());
        Ok(bytes[from..end].to_vec())
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(self.begin()?.file(path)?.content.len() as u64)
    }

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.begin()?;
        state.check()?;
        state.has_space()?;
        let file = File { content: bytes.to_vec(), durable: bytes.to_vec(), open: None };
        state.files.insert(path.to_owned(), file);
        state.check()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin()?;
        state.check()?;
        state.files.remove(path);
        state.check()
    }
}

impl AppendFile for OpenFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let path = self.path.clone();
        let mut state = self.disk.begin()?;
        let fails = state.check().and_then(|()| state.has_space());
        if fails.is_err() {
            // A part of it is written.
            let part = state.dice.index(bytes.len() + 1);
            state.file(&path)?.content.extend_from_slice(&bytes[..part]);
            return fails;
        }
        state.file(&path)?.content.extend_from_slice(bytes);
        // The sync may fail.
        state.check()?;
        let file = state.file(&path)?;
        file.durable.clone_from(&file.content);
        // The process may die before it learns of it.
        match state.fault() {
            Some(Fault::Crash) => Err(io::Error::other("the process dies")),
            Some(Fault::Error) | None => Ok(()),
        }
    }

    fn length(&mut self) -> io::Result<u64> {
        let path = self.path.clone();
        Ok(self.disk.begin()?.file(&path)?.content.len() as u64)
    }

    fn tail(&mut self, most: u64) -> io::Result<Vec<u8>> {
        let path = self.path.clone();
        let mut state = self.disk.begin()?;
        let content = &state.file(&path)?.content;
        let from = content.len().saturating_sub(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(content[from..].to_vec())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let path = self.path.clone();
        let mut state = self.disk.begin()?;
        state.check()?;
        state.file(&path)?.content.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }

    fn check_space(&mut self, _: u64) -> io::Result<()> {
        let mut state = self.disk.begin()?;
        state.check()?;
        state.has_space()
    }

    fn is_at(&mut self, _: &Path) -> bool {
        true
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let mut state = self.disk.platter.lock();
        let process = self.disk.process;
        if let Some(file) = state.files.get_mut(&self.path).filter(|file| file.open == Some(process)) {
            file.open = None;
        }
    }
}
