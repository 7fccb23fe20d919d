//! Validating a component and making native code of it: here, or where it can hurt nobody.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustix::process::Signal;
use thiserror::Error;
use wasmtime::component::Component;

use super::{Cache, Candidate, Inner, Package, PackageError, PublicKey, Refusal, gate};
use crate::{Engine, PackageLimits};

/// Checks packages and compiles them, in this process or in a child.
#[derive(Clone)]
pub struct Compiler {
    engine: Engine,
    limits: PackageLimits,
    trusted: Option<Arc<[PublicKey]>>,
    program: Option<PathBuf>,
    cache: Option<Cache>,
}

/// A component is not valid, or does not compile.
#[derive(Debug, Error)]
pub enum CompileError {
    /// It is no valid component of our world.
    #[error("not a rule's component: {0}")]
    Gate(String),
    /// The compiler does not take it.
    #[error("its component does not compile: {0}")]
    Refused(String),
    /// It took more CPU time than it may.
    #[error(
        "its component does not compile: it takes more than {0} s of CPU time (compile-time in the config's limits): it \
         may be made to take for ever"
    )]
    Time(u64),
    /// It took more memory than it may.
    #[error(
        "its component does not compile: it takes more than {0} bytes of memory (compile-memory in the config's limits)"
    )]
    Memory(u64),
    /// The process that compiles ended otherwise than with a result.
    #[error("its component does not compile: the process that does it ended with {0}")]
    Died(String),
    /// It was killed from without, as the system does where memory is short.
    #[error("its component could not be compiled: the process that does it was killed")]
    Killed,
    /// No such process can be started, or talked to.
    #[error("its component cannot be compiled: no process can be started to do it: {0}")]
    Process(io::Error),
}

impl Compiler {
    /// One that compiles in this process, with the limits of [`PackageLimits::default`]: for packages that can be trusted
    /// to be no compile bombs.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, limits: PackageLimits::default(), trusted: None, program: None, cache: None }
    }

    /// The same, with these limits.
    #[must_use]
    pub fn with_limits(self, limits: PackageLimits) -> Self {
        Self { limits, ..self }
    }

    /// The same, which takes no package that none of these keys has signed; without any list, everybody's.
    #[must_use]
    pub fn with_trusted_keys(self, keys: Option<&[PublicKey]>) -> Self {
        Self { trusted: keys.map(Into::into), ..self }
    }

    /// The same, which compiles in a child process: what a stranger sends can take all the time and memory that there is.
    /// `program` is the `portcullis` command of this version, which knows how to be that child.
    #[must_use]
    pub fn in_child(self, program: PathBuf) -> Self {
        Self { program: Some(program), ..self }
    }

    /// The same, which looks here first whether a component has been compiled before, and keeps what it compiles.
    #[must_use]
    pub fn with_cache(self, cache: Option<Cache>) -> Self {
        Self { cache, ..self }
    }

    /// Checks a package and compiles its component. `origin` says in messages where the bytes came from.
    ///
    /// # Errors
    /// The bytes are no package that can be run.
    pub fn package(&self, bytes: &[u8], origin: &str) -> Result<Package, PackageError> {
        self.compile(Arc::new(self.candidate(bytes.to_vec(), origin)?))
    }

    /// Checks a package as far as that can be done without compiling it.
    ///
    /// # Errors
    /// The bytes are no package that can be run.
    pub fn candidate(&self, bytes: Vec<u8>, origin: &str) -> Result<Candidate, PackageError> {
        Candidate::read(bytes, origin, &self.limits, self.trusted.as_deref())
            .map_err(|reason| PackageError { origin: origin.to_owned(), reason })
    }

    /// Validates and compiles a candidate.
    ///
    /// # Errors
    /// It is not valid, or does not compile.
    pub fn compile(&self, candidate: Arc<Candidate>) -> Result<Package, PackageError> {
        let origin = candidate.origin.clone();
        let package = self
            .component(&candidate)
            .and_then(|component| Inner::new(&self.engine, candidate, &component))
            .map_err(|error| PackageError { origin, reason: Refusal::Compile(error) })?;
        Ok(Package(Arc::new(package)))
    }

    /// The candidate of a file, of which no more is read than a package may have.
    ///
    /// # Errors
    /// The file cannot be read, or is no package that can be run.
    pub(crate) fn read(&self, file: &Path) -> io::Result<Result<Candidate, PackageError>> {
        let origin = file.display().to_string();
        let file = File::open(file)?;
        // A pipe or a device says 0, and is cut.
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
        let code = match &self.program {
            None => precompile_with(self.engine.wasmtime(), &candidate.bytes)?,
            Some(program) => self.compile_in_child(program, &candidate.bytes)?,
        };
        if let Some(cache) = &self.cache {
            cache.keep(&self.engine, candidate.sha256(), &code);
        }
        #[expect(
            unsafe_code,
            reason = "the way back from the compiler; only native code that this program made is safe"
        )]
        // SAFETY: the engine made it here; or it came through a pipe whose other end nobody had but the child, which ran
        // this program's own binary and ended well: it is what `precompile` gave it.
        let component = unsafe { Component::deserialize(self.engine.wasmtime(), &code) };
        component.map_err(|error| CompileError::Refused(format!("{error:#}")))
    }

    fn compile_in_child(&self, program: &Path, bytes: &[u8]) -> Result<Vec<u8>, CompileError> {
        let mut child = self.start(program).map_err(CompileError::Process)?;
        let output = self.talk(&mut child, bytes);
        // It ends by itself when its pipes are closed; where it has been given up, it is made to.
        let _ = child.kill();
        let status = child.wait().map_err(CompileError::Process)?;
        let Ok((code, said)) = output else { return Err(CompileError::Time(self.limits.compile_seconds)) };
        if !status.success() {
            return Err(self.death(status, &said));
        }
        if code.len() > self.largest_code() {
            return Err(CompileError::Refused(format!("its native code has more than {} bytes", self.largest_code())));
        }
        Ok(code)
    }

    fn start(&self, program: &Path) -> io::Result<Child> {
        let PackageLimits { compile_seconds, compile_memory, .. } = self.limits;
        Command::new(program)
            .args(["compile", "--seconds", &compile_seconds.to_string(), "--memory", &compile_memory.to_string()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Gives the child the component, and takes what it writes: native code, and complaints. The child has read everything
    /// before it writes anything. An error: it has not ended in ten times the CPU time that it may take.
    fn talk(&self, child: &mut Child, bytes: &[u8]) -> Result<(Vec<u8>, String), mpsc::RecvTimeoutError> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (sender, receiver) = mpsc::channel();
        let bytes = bytes.to_vec();
        let largest = self.largest_code() as u64;
        std::thread::spawn(move || {
            // Whatever fails here, the child's end says more.
            let _ = stdin.map(|mut stdin| stdin.write_all(&bytes));
            let (mut code, mut said) = (Vec::new(), Vec::new());
            let _ = stdout.map(|stdout| stdout.take(largest + 1).read_to_end(&mut code));
            let _ = stderr.map(|stderr| stderr.take(4096).read_to_end(&mut said));
            let _ = sender.send((code, String::from_utf8_lossy(&said).into_owned()));
        });
        receiver.recv_timeout(Duration::from_secs(self.limits.compile_seconds.saturating_mul(10)))
    }

    /// Native code is some five times as large as what it is made of.
    fn largest_code(&self) -> usize {
        self.limits.size.saturating_mul(32)
    }

    fn death(&self, status: ExitStatus, said: &str) -> CompileError {
        if status.signal() == Some(Signal::XCPU.as_raw()) {
            return CompileError::Time(self.limits.compile_seconds);
        }
        if status.signal() == Some(Signal::KILL.as_raw()) {
            return CompileError::Killed;
        }
        if said.contains("has overflowed its stack") {
            return CompileError::Died("its stack used up: parts of the component are nested too deep".to_owned());
        }
        // What Rust's allocator says before it gives up, and what the system says of memory that it does not give.
        if ["memory allocation", "Cannot allocate memory", "out of memory"].iter().any(|words| said.contains(words)) {
            return CompileError::Memory(self.limits.compile_memory);
        }
        let its_own = said.lines().find(|line| line.starts_with("portcullis: "));
        let said = its_own.or(said.lines().find(|line| !line.is_empty())).unwrap_or_default();
        // As its own messages begin.
        let refusal = |beginning| said.strip_prefix("portcullis: ").and_then(|said| said.strip_prefix(beginning));
        match (refusal("not a rule's component: "), refusal("its component does not compile: ")) {
            (Some(reason), _) => CompileError::Gate(reason.to_owned()),
            (_, Some(reason)) => CompileError::Refused(reason.to_owned()),
            _ => {
                let said = said.trim_start_matches("portcullis: ");
                CompileError::Died(format!("{status}{}{said}", if said.is_empty() { "" } else { ": " }))
            }
        }
    }
}

/// The native code of a component, for a [`Compiler`] of this very version on this very machine: what its child does. One
/// thread compiles.
///
/// # Errors
/// The component is not valid, or does not compile.
pub fn precompile(wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    let config = Engine::config(Engine::STACK).parallel_compilation(false).clone();
    let engine = wasmtime::Engine::new(&config).map_err(|error| CompileError::Refused(format!("{error:#}")))?;
    precompile_with(&engine, wasm)
}

fn precompile_with(engine: &wasmtime::Engine, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    gate::validate(wasm).map_err(|error| CompileError::Gate(error.to_string()))?;
    engine.precompile_component(wasm).map_err(|error| CompileError::Refused(format!("{error:#}")))
}
