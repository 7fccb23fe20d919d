//! Validates components and compiles them to native code, in this process or in a child process.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustix::process::Signal;
use wasmtime::component::Component;

use super::compile_child::{self, Report};
use super::precompile::{CompileError, precompile_with};
use super::{Cache, Candidate, Inner, Package, PackageError, PublicKey, Refusal, gate};
use crate::engine::Engine;
use crate::limits::{Limits, PackageLimits};

/// Checks packages and compiles them.
#[derive(Clone)]
pub struct Compiler {
    engine: Engine,
    limits: PackageLimits,
    trusted: Option<Arc<[PublicKey]>>,
    child: Child,
    cache: Option<Cache>,
}

/// The process that compiles packages.
#[derive(Clone)]
enum Child {
    /// This process.
    None,
    /// A child process of this program, if `main` supports it.
    Own,
    /// A child process of another program.
    Program(PathBuf),
}

impl Compiler {
    /// Returns a compiler for this process, with the limits of [`PackageLimits::default`]. Use it for trusted packages
    /// only: compiling a malicious one can take all time and memory.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, limits: PackageLimits::default(), trusted: None, child: Child::None, cache: None }
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(self, limits: PackageLimits) -> Self {
        Self { limits, ..self }
    }

    /// Returns the limits.
    pub(crate) fn limits(&self) -> &PackageLimits {
        &self.limits
    }

    /// Accepts only packages that are signed with one of these keys; without a list, all packages.
    #[must_use]
    pub fn with_trusted_keys(self, keys: Option<&[PublicKey]>) -> Self {
        Self { trusted: keys.map(Into::into), ..self }
    }

    /// Compiles in a child process of this program, so that untrusted packages cannot take more time and memory than
    /// the limits. The program's `main` must call [`run_compile_child`](super::run_compile_child) first. Otherwise each
    /// package is refused with [`CompileError::NoChild`].
    #[must_use]
    pub fn in_child(self) -> Self {
        Self { child: Child::Own, ..self }
    }

    /// Compiles in a child process of another program with the same version of this library, such as the `portcullis`
    /// command. Its `main` must call [`run_compile_child`](super::run_compile_child).
    #[must_use]
    pub fn in_child_of(self, program: PathBuf) -> Self {
        Self { child: Child::Program(program), ..self }
    }

    /// Sets a cache of compiled components.
    #[must_use]
    pub fn with_cache(self, cache: Option<Cache>) -> Self {
        Self { cache, ..self }
    }

    /// Checks a package and compiles its component. `origin` says in messages where the bytes came from.
    ///
    /// # Errors
    /// The bytes are not a valid package.
    pub fn package(&self, bytes: &[u8], origin: &str) -> Result<Package, PackageError> {
        self.compile(Arc::new(self.candidate(bytes.to_vec(), origin)?))
    }

    /// Checks a package without compiling it.
    ///
    /// # Errors
    /// The bytes are not a valid package.
    pub fn candidate(&self, bytes: Vec<u8>, origin: &str) -> Result<Candidate, PackageError> {
        Candidate::read(bytes, origin, &self.limits, self.trusted.as_deref())
            .map_err(|reason| PackageError { origin: origin.to_owned(), reason })
    }

    /// Validates and compiles a candidate.
    ///
    /// # Errors
    /// The component is not valid, or does not compile.
    pub fn compile(&self, candidate: Arc<Candidate>) -> Result<Package, PackageError> {
        let origin = candidate.origin.clone();
        let package = self
            .component(&candidate)
            .and_then(|component| Inner::new(&self.engine, candidate, &component))
            .map_err(|error| PackageError { origin, reason: Refusal::Compile(error) })?;
        Ok(Package(Arc::new(package)))
    }

    /// Returns the number of test cases that a package has passed under these limits, if the cache knows it.
    pub(crate) fn passed(&self, package: &Package, limits: &Limits) -> Option<usize> {
        self.cache.as_ref()?.passed(&self.engine, limits, package.sha256())
    }

    /// Notes in the cache that a package has passed its test cases.
    pub(crate) fn note_passed(&self, package: &Package, limits: &Limits, count: usize) {
        if let Some(cache) = &self.cache {
            cache.insert_passed(&self.engine, limits, package.sha256(), count);
        }
    }

    /// Reads a candidate from a file. No more bytes are read than a package may have.
    ///
    /// # Errors
    /// The file cannot be read, or is not a valid package.
    pub(crate) fn read(&self, file: &Path) -> io::Result<Result<Candidate, PackageError>> {
        let origin = file.display().to_string();
        let file = File::open(file)?;
        // The length of a pipe or a device is 0, so reading it has a limit too.
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        if length <= self.limits.size {
            file.take(self.limits.size as u64 + 1).read_to_end(&mut bytes)?;
        }
        Ok(match gate::check_size(length.max(bytes.len()), &self.limits) {
            Ok(()) => self.candidate(bytes, &origin),
            Err(error) => Err(PackageError { origin, reason: Refusal::Gate(error) }),
        })
    }

    fn component(&self, candidate: &Candidate) -> Result<Component, CompileError> {
        let cached = |cache: &Cache| cache.component(&self.engine, candidate.sha256());
        if let Some(component) = self.cache.as_ref().and_then(cached) {
            return Ok(component);
        }
        let code = match &self.child {
            Child::None => precompile_with(self.engine.wasmtime(), &candidate.bytes)?,
            Child::Own if !compile_child::is_installed() => return Err(CompileError::NoChild),
            // The running program, even if its file was replaced or removed.
            Child::Own => self.compile_in_child(Path::new("/proc/self/exe"), &candidate.bytes)?,
            Child::Program(program) => self.compile_in_child(program, &candidate.bytes)?,
        };
        if let Some(cache) = &self.cache {
            cache.insert(&self.engine, candidate.sha256(), &code);
        }
        #[expect(unsafe_code, reason = "loads native code from the compiler, which only this library made")]
        // SAFETY: the engine of this process made the code; or it came through a pipe from a child process that ran
        // this library and ended successfully, so that it is a result of `precompile`.
        let component = unsafe { Component::deserialize(self.engine.wasmtime(), &code) };
        component.map_err(|error| CompileError::Refused(format!("{error:#}")))
    }

    fn compile_in_child(&self, program: &Path, bytes: &[u8]) -> Result<Vec<u8>, CompileError> {
        let mut child = self.start(program).map_err(CompileError::Process)?;
        let output = self.communicate(&mut child, bytes);
        // The child ends when its pipes are closed. If the time is over, it has to be killed.
        let _ = child.kill();
        let status = child.wait().map_err(CompileError::Process)?;
        let Ok((code, message)) = output else { return Err(CompileError::Starved(self.patience().as_secs())) };
        if !status.success() {
            return Err(self.failure(status, &message));
        }
        if code.len() > self.largest_code() {
            return Err(CompileError::Refused(format!("its native code has more than {} bytes", self.largest_code())));
        }
        Ok(code)
    }

    fn start(&self, program: &Path) -> io::Result<process::Child> {
        let PackageLimits { compile_seconds, compile_memory, .. } = self.limits;
        Command::new(program)
            .args([compile_child::ARGUMENT, &compile_seconds.to_string(), &compile_memory.to_string()])
            .env_clear()
            // mimalloc, the allocator of static binaries, would reserve 1 GiB at once, which counts as the program's own.
            .env("MIMALLOC_ARENA_RESERVE", "32MiB")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Writes the component to the child, and returns its output and its error messages. The child reads everything
    /// before it writes. It is an error if this takes more than ten times the child's CPU time.
    fn communicate(
        &self,
        child: &mut process::Child,
        bytes: &[u8],
    ) -> Result<(Vec<u8>, String), mpsc::RecvTimeoutError> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (sender, receiver) = mpsc::channel();
        let bytes = bytes.to_vec();
        let largest = self.largest_code() as u64;
        std::thread::spawn(move || {
            // If this fails, the exit status of the child says more.
            let _ = stdin.map(|mut stdin| stdin.write_all(&bytes));
            let (mut code, mut message) = (Vec::new(), Vec::new());
            let _ = stdout.map(|stdout| stdout.take(largest + 1).read_to_end(&mut code));
            let _ = stderr.map(|stderr| stderr.take(4096).read_to_end(&mut message));
            let _ = sender.send((code, String::from_utf8_lossy(&message).into_owned()));
        });
        receiver.recv_timeout(self.patience())
    }

    /// Returns how long the child may take on a busy machine.
    fn patience(&self) -> Duration {
        Duration::from_secs(self.limits.compile_seconds.saturating_mul(10))
    }

    /// Returns the limit for native code, in bytes. It is usually about five times as large as the package.
    fn largest_code(&self) -> usize {
        self.limits.size.saturating_mul(32)
    }

    /// Returns why the child failed.
    fn failure(&self, status: ExitStatus, message: &str) -> CompileError {
        if status.signal() == Some(Signal::XCPU.as_raw()) {
            return CompileError::Time(self.limits.compile_seconds);
        }
        if status.signal() == Some(Signal::KILL.as_raw()) {
            return CompileError::Killed;
        }
        if status.code() == Some(compile_child::FAILED.into())
            && let Some(report) = message.lines().last().and_then(|line| serde_json::from_str(line).ok())
        {
            return match report {
                Report::Gate(reason) => CompileError::Gate(reason),
                Report::Refused(reason) => CompileError::Refused(reason),
                Report::Process(reason) => CompileError::Process(io::Error::other(reason)),
            };
        }
        // Rust's runtime aborts if the stack overflows or memory is exhausted; only its message tells the two apart.
        if message.contains("has overflowed its stack") {
            return CompileError::Died("a stack overflow: parts of the component are nested too deep".to_owned());
        }
        if ["memory allocation", "Cannot allocate memory", "out of memory"].iter().any(|words| message.contains(words))
        {
            return CompileError::Memory(self.limits.compile_memory);
        }
        let line = message.lines().find(|line| !line.is_empty()).unwrap_or_default();
        CompileError::Died(format!("{status}{}{line}", if line.is_empty() { "" } else { ": " }))
    }
}
