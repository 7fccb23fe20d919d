//! The store: package files, which are read when they change and compiled when they are needed.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use semver::Version;

use crate::limits::PackageLimits;
use crate::package::{Candidate, Compiler, Package, PackageError, PublicKey};
use crate::rule_set::{FolderError, package_files};

/// A file that changed less than this time ago could change again with the same time stamp, because the system's clock
/// for files has a coarse resolution.
const SETTLED: Duration = Duration::from_secs(1);

/// Packages in files and folders, for tenants with equal limits and trusted keys.
pub(super) struct Store {
    pub(super) paths: Vec<PathBuf>,
    pub(super) compiler: Compiler,
    files: BTreeMap<PathBuf, StoredFile>,
    /// Whether the files were looked for.
    pub(super) is_scanned: bool,
    /// Compiled packages, by the SHA-256 of the file.
    compiled: HashMap<String, Package>,
    /// Results of compiling in advance, by the SHA-256 of the file.
    ahead: HashMap<String, Result<Package, PackageError>>,
}

struct StoredFile {
    /// Identifies the file's content without reading it; absent if the file changed very recently.
    stamp: Option<Stamp>,
    found: Found,
}

/// A package, or the reason why a file is not one.
pub(super) type Found = Result<Arc<Candidate>, Arc<str>>;

/// The versions of one rule, with the different packages that claim each version. There should be one.
pub(super) type Versions = BTreeMap<Version, Vec<Arc<Candidate>>>;

#[derive(PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Store {
    pub(super) fn new(paths: Vec<PathBuf>, compiler: Compiler) -> Self {
        Self {
            paths,
            compiler,
            files: BTreeMap::new(),
            is_scanned: false,
            compiled: HashMap::new(),
            ahead: HashMap::new(),
        }
    }

    /// Returns a store of the same files that accepts packages signed with these keys; without a list, all packages.
    pub(super) fn with_trusted_keys(&self, keys: Option<&[PublicKey]>) -> Self {
        Self::new(self.paths.clone(), self.compiler.clone().with_trusted_keys(keys))
    }

    /// Looks for changed files, and reads them. If a path cannot be read, nothing changes.
    pub(super) fn scan(&mut self) -> Result<(), FolderError> {
        let mut files = Vec::new();
        for path in &self.paths {
            files.extend(package_files(path)?);
        }
        let found: Vec<_> = files.into_iter().map(|file| (fs::metadata(&file), file)).collect();
        // A file that is too long for a package is refused alone.
        let lengths = found.iter().filter_map(|(metadata, _)| Some(metadata.as_ref().ok()?.len()));
        let bytes = lengths.filter(|length| *length <= self.compiler.limits().size as u64).sum();
        if found.len() > PackageLimits::PACKAGES || bytes > PackageLimits::PACKAGES_SIZE {
            let path = self.paths.first().cloned().unwrap_or_default();
            return Err(FolderError::TooMany { path, files: found.len(), bytes });
        }
        let mut before = std::mem::take(&mut self.files);
        for (metadata, file) in found {
            let stamp = metadata.and_then(|metadata| Stamp::of(&metadata));
            if stamp.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                continue;
            }
            let stored = match (before.remove(&file), stamp) {
                (Some(stored), Ok(stamp)) if stored.stamp.is_some() && stored.stamp == stamp => stored,
                (before, stamp) => {
                    let found = self.read(&file);
                    // Keep the old package if the content is the same.
                    let found = match (before.map(|stored| stored.found), found) {
                        (Some(Ok(before)), Ok(now)) if before.sha256() == now.sha256() => Ok(before),
                        (_, found) => found,
                    };
                    StoredFile { stamp: stamp.unwrap_or_default(), found }
                }
            };
            self.files.insert(file, stored);
        }
        let is_there = |sha256: &String| self.candidates().any(|candidate| candidate.sha256() == sha256);
        let gone: Vec<String> = self.compiled.keys().filter(|sha256| !is_there(sha256)).cloned().collect();
        for sha256 in &gone {
            self.compiled.remove(sha256);
        }
        self.is_scanned = true;
        Ok(())
    }

    /// Compiles the newest version of each rule on all processors, because it will most likely be needed. Others wait
    /// until all are done.
    pub(super) fn compile_ahead(&mut self) {
        let newest = |versions: Versions| versions.into_values().next_back()?.into_iter().next();
        let newest = self.rules().into_values().filter_map(newest);
        let newest: Vec<Arc<Candidate>> = newest.filter(|candidate| !self.is_compiled(candidate.sha256())).collect();
        let next = AtomicUsize::new(0);
        let compile = || {
            let next = || newest.get(next.fetch_add(1, Ordering::Relaxed));
            let compiled = |candidate: &Arc<Candidate>| {
                (candidate.sha256().to_owned(), self.compiler.compile(Arc::clone(candidate)))
            };
            std::iter::from_fn(next).map(compiled).collect::<Vec<_>>()
        };
        let threads = available_parallelism().map_or(1, NonZeroUsize::get).min(newest.len());
        let ahead: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(compile)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        self.ahead.extend(ahead);
    }

    fn is_compiled(&self, sha256: &str) -> bool {
        self.compiled.contains_key(sha256) || self.ahead.contains_key(sha256)
    }

    fn read(&self, file: &Path) -> Found {
        let refused = |reason: String| Err(reason.into());
        match self.compiler.read(file) {
            Err(error) => refused(format!("cannot be read: {error}")),
            Ok(Err(error)) => refused(error.reason()),
            Ok(Ok(candidate)) => match parse_file_name(file) {
                Some((rule_id, version)) if (rule_id, &version) != (candidate.rule_id(), candidate.version()) => {
                    refused(format!(
                        "its file name does not match its content, which is {} {}",
                        candidate.rule_id(),
                        candidate.version()
                    ))
                }
                _ => Ok(Arc::new(candidate)),
            },
        }
    }

    /// Returns the files, each with its package.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, &Found)> {
        self.files.iter().map(|(file, stored)| (&**file, &stored.found))
    }

    fn candidates(&self) -> impl Iterator<Item = &Arc<Candidate>> {
        self.files.values().filter_map(|stored| stored.found.as_ref().ok())
    }

    /// Returns the packages by rule and version. Files with equal content count once.
    pub(super) fn rules(&self) -> BTreeMap<String, Versions> {
        let mut rules: BTreeMap<String, Versions> = BTreeMap::new();
        for candidate in self.candidates() {
            let versions = rules.entry(candidate.rule_id().to_owned()).or_default();
            let same = versions.entry(candidate.version().clone()).or_default();
            if !same.iter().any(|other| other.sha256() == candidate.sha256()) {
                same.push(Arc::clone(candidate));
            }
        }
        rules
    }

    /// Returns whether a file may soon be a package of this rule: a file that is not a package now, at the path of the
    /// active package or with the rule's id in its name.
    pub(super) fn may_become_package(&self, rule_id: &str, active: &Package) -> bool {
        let broken = self.files.iter().filter(|(_, stored)| stored.found.is_err());
        broken.map(|(file, _)| file).any(|file| {
            *file == Path::new(active.origin()) || parse_file_name(file).is_some_and(|(named, _)| named == rule_id)
        })
    }

    /// Compiles a candidate, once.
    pub(super) fn compile(&mut self, candidate: &Arc<Candidate>) -> Result<Package, PackageError> {
        if let Some(package) = self.compiled.get(candidate.sha256()) {
            return Ok(package.clone());
        }
        let ahead = self.ahead.remove(candidate.sha256());
        let package = ahead.unwrap_or_else(|| self.compiler.compile(Arc::clone(candidate)))?;
        self.compiled.insert(candidate.sha256().to_owned(), package.clone());
        Ok(package)
    }
}

/// Returns the rule id and version in a file name of the form `<RuleID>@<version>.wasm`.
fn parse_file_name(file: &Path) -> Option<(&str, Version)> {
    let (rule_id, version) = file.file_name()?.to_str()?.strip_suffix(".wasm")?.rsplit_once('@')?;
    Some((rule_id, version.parse().ok()?))
}

impl Stamp {
    /// Returns no stamp for a file that changed very recently.
    #[expect(clippy::unnecessary_wraps, reason = "the caller maps a result")]
    fn of(metadata: &fs::Metadata) -> io::Result<Option<Self>> {
        let changed = Duration::from_secs(u64::try_from(metadata.ctime()).unwrap_or(0));
        let settled = SystemTime::UNIX_EPOCH + changed + SETTLED < SystemTime::now();
        Ok(settled.then(|| Self {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }))
    }
}
