//! The history of each version of each rule: an append-only file.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use semver::Version;
use thiserror::Error;

use super::entry::{Action, Entry};

/// The history of a process: the entries of previous processes, and the file that it appends to.
#[derive(Debug, Default)]
pub struct History {
    past: Histories,
    file: Option<(PathBuf, Mutex<Appended>)>,
    /// Held from publishing something to the end of writing it, and while an event that follows from it is written.
    publishing: Mutex<()>,
    /// Whether the history is kept in a file.
    is_kept: bool,
    /// Numbers of the lines that are not entries, from 1.
    pub unreadable: Vec<usize>,
}

/// The beginning of each line.
const BEGINNING: &[u8] = b"{\"time\":\"";

/// The file, and whether its last line is incomplete.
#[derive(Debug)]
struct Appended {
    file: File,
    is_torn: bool,
}

/// The history cannot be written.
#[derive(Debug, Error)]
#[error("{file}: cannot be written: {error}; the history is incomplete from here on", file = .file.display())]
pub struct HistoryError {
    /// The file.
    pub file: PathBuf,
    /// The error.
    pub error: io::Error,
}

/// The history of one rule of one tenant.
#[derive(Clone, Debug, Default)]
pub struct RuleHistory {
    /// The version that was active last, its package's SHA-256, and the time since which it was active.
    pub active: Option<(Version, String, String)>,
    /// Every version that was ever active, and its package's SHA-256.
    pub activated: BTreeMap<Version, String>,
    /// The SHA-256 of the package in the shadow of the active version, and the time since which it is there.
    pub shadow: Option<(String, String)>,
    /// The last refusal of each package, by SHA-256.
    pub refused: HashMap<String, Entry>,
    /// The failure of each package on live events, in shadow or not, by SHA-256.
    pub rolled_back: HashMap<String, Entry>,
}

/// The history of each rule, by tenant and rule id.
#[derive(Clone, Debug, Default)]
pub(super) struct Histories(HashMap<(String, String), RuleHistory>);

impl Histories {
    /// Adds an entry.
    pub(super) fn remember(&mut self, entry: Entry) {
        let Some(rule_id) = entry.rule_id.clone() else { return };
        let past = self.0.entry((entry.tenant.clone(), rule_id)).or_default();
        let (version, sha256) = (entry.to.clone(), entry.sha256.clone());
        match (entry.action, version, sha256) {
            (Action::Activated | Action::Resumed, Some(version), Some(sha256)) => {
                past.refused.remove(&sha256);
                past.activated.insert(version.clone(), sha256.clone());
                if past.active.as_ref().is_none_or(|(active, ..)| *active != version) {
                    past.active = Some((version, sha256, entry.time));
                }
            }
            (Action::Refused, _, Some(sha256)) => {
                past.refused.insert(sha256, entry);
            }
            (Action::RolledBack, Some(version), Some(failed)) => {
                // Another version may have replaced it before.
                if past.active.as_ref().is_some_and(|(_, active, _)| *active == failed) {
                    let sha256 = past.activated.get(&version).cloned().unwrap_or_default();
                    past.active = Some((version, sha256, entry.time.clone()));
                }
                past.rolled_back.insert(failed, entry);
            }
            (Action::ShadowBegan, _, Some(sha256)) => past.shadow = Some((sha256, entry.time)),
            (Action::ShadowEnded, _, sha256) => {
                past.shadow = None;
                let has_failed = entry.shadow.as_ref().is_some_and(|report| report.fault.is_some());
                past.rolled_back.extend(sha256.filter(|_| has_failed).map(|sha256| (sha256, entry)));
            }
            (Action::Removed, ..) => past.active = None,
            _ => {}
        }
    }

    /// Returns the history of a tenant's rule.
    pub(super) fn of(&self, tenant: &str, rule_id: &str) -> Option<&RuleHistory> {
        self.0.get(&(tenant.to_owned(), rule_id.to_owned()))
    }

    /// Returns the rules of a tenant that have a history.
    pub(super) fn rules<'h>(&'h self, tenant: &'h str) -> impl Iterator<Item = (&'h str, &'h RuleHistory)> {
        self.0.iter().filter(move |((of, _), _)| of == tenant).map(|((_, rule_id), past)| (&**rule_id, past))
    }
}

impl History {
    /// Opens the history in a file for appending. A missing file is created.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        check(path)?;
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut history = Self::of(&mut file)?;
        let is_torn = is_last_line_torn(&mut file)?;
        history.file = Some((path.to_owned(), Mutex::new(Appended { file, is_torn })));
        Ok(history)
    }

    /// Reads the history in a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        check(path)?;
        Self::of(&mut File::open(path)?)
    }

    fn of(file: &mut File) -> io::Result<Self> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // Nothing may be appended to another kind of file, such as a file of records.
        if !bytes.is_empty() && !bytes.starts_with(BEGINNING) {
            return Err(io::Error::other("it is not a history: its first line is not an entry"));
        }
        let mut history = Self { is_kept: true, ..Self::default() };
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            match serde_json::from_slice(line) {
                Ok(entry) => history.past.remember(entry),
                Err(_) if line.is_empty() => {}
                Err(_) => history.unreadable.push(number + 1),
            }
        }
        Ok(history)
    }

    /// Returns the entries from before this process.
    pub(super) fn past(&self) -> &Histories {
        &self.past
    }

    /// Waits until no other thread is between publishing something and writing it.
    pub(super) fn lock_publishing(&self) -> MutexGuard<'_, ()> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the history is kept in a file.
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Appends an entry to the file, if there is one, and waits until it is on disk.
    ///
    /// # Errors
    /// The entry cannot be written.
    pub fn append(&self, entry: &Entry) -> Result<(), HistoryError> {
        let Some((path, appended)) = &self.file else { return Ok(()) };
        let failed = |error| HistoryError { file: path.clone(), error };
        let mut line = serde_json::to_vec(entry).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let mut appended = appended.lock().unwrap_or_else(PoisonError::into_inner);
        let Appended { file, is_torn } = &mut *appended;
        if *is_torn {
            line.insert(0, b'\n');
        }
        // A single write cannot be split by a line of another process.
        *is_torn = true;
        file.write_all(&line).and_then(|()| file.sync_data()).map_err(failed)?;
        *is_torn = false;
        Ok(())
    }
}

/// Checks that a path is not a pipe or a device, which keeps nothing and may block when opened.
fn check(path: &Path) -> io::Result<()> {
    let is_other = path.metadata().is_ok_and(|metadata| !metadata.is_file());
    if is_other { Err(io::Error::other("it is not a regular file")) } else { Ok(()) }
}

/// Returns whether the last line is incomplete: its writer was killed while writing it.
fn is_last_line_torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}
