//! The child process that compiles untrusted packages within limits.

use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _, stderr, stdin, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setpriority_process, setrlimit,
};
use serde::{Deserialize, Serialize};

use super::precompile::{CompileError, precompile};

/// The first argument of the child, followed by its CPU time in seconds and its address space in bytes.
pub(super) const ARGUMENT: &str = "portcullis-compile-child";

/// The exit code of a child that reports a failure on standard error.
pub(super) const FAILED: u8 = 3;

/// Stack for validating and compiling a component, in bytes. Its parts can be nested too deep for the default stack.
const STACK: usize = 64 << 20;

/// Whether `main` of this program calls [`run_compile_child`].
static IS_INSTALLED: AtomicBool = AtomicBool::new(false);

/// A failure as the child reports it: a line of JSON on standard error.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", tag = "failure", content = "reason")]
pub(super) enum Report {
    /// The component is not valid, or exports something other than a rule.
    Gate(String),
    /// The compiler refuses the component.
    Refused(String),
    /// The child cannot limit itself, or cannot read or write.
    Process(String),
}

/// Lets this program compile packages in a child process, which runs the same program. Call it first in `main`. In the
/// child process, it compiles and exits. In any other process, it returns immediately.
///
/// Without this call, [`Compiler::in_child`](super::Compiler::in_child) refuses to start a child process, because the
/// child would run the program's own `main` instead of the compiler. Each package is then refused with
/// [`CompileError::NoChild`].
pub fn run_compile_child() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(ARGUMENT)) {
        IS_INSTALLED.store(true, Ordering::Relaxed);
        return;
    }
    let mut number = || arguments.next()?.to_str()?.parse().ok();
    let compiled = match (number(), number()) {
        (Some(seconds), Some(memory)) => compile(seconds, memory),
        _ => Err(Report::Process(format!("expected {ARGUMENT} SECONDS BYTES"))),
    };
    let written = compiled.and_then(|code| {
        stdout().write_all(&code).map_err(|error| Report::Process(format!("cannot write the native code: {error}")))
    });
    let code = match written {
        Ok(()) => 0,
        Err(report) => {
            let line = serde_json::to_string(&report).unwrap_or_default();
            let _ = writeln!(stderr(), "{line}");
            FAILED
        }
    };
    std::process::exit(code.into());
}

/// Returns whether [`run_compile_child`] was called in this process.
pub(super) fn is_installed() -> bool {
    IS_INSTALLED.load(Ordering::Relaxed)
}

/// Returns the native code of the component on standard input.
fn compile(seconds: u64, memory: u64) -> Result<Vec<u8>, Report> {
    // This comes before the first byte of an untrusted package is read.
    limit(seconds, memory).map_err(|error| Report::Process(format!("cannot limit itself: {error}")))?;
    let mut wasm = Vec::new();
    let read = stdin().read_to_end(&mut wasm);
    read.map_err(|error| Report::Process(format!("cannot read the component: {error}")))?;
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || precompile(&wasm));
    let thread = thread.map_err(|error| Report::Process(format!("cannot start a thread: {error}")))?;
    let compiled = thread.join().map_err(|_| Report::Refused("the compiler panicked".to_owned()))?;
    compiled.map_err(|error| match error {
        CompileError::Gate(reason) => Report::Gate(reason),
        CompileError::Refused(reason) => Report::Refused(reason),
        other => Report::Process(other.to_string()),
    })
}

/// Limits CPU time and address space, forbids writing files and dumping memory, and makes the child end with its
/// parent.
fn limit(seconds: u64, memory: u64) -> io::Result<()> {
    let limits =
        [(Resource::Cpu, seconds), (Resource::As, memory + own_memory()), (Resource::Fsize, 0), (Resource::Core, 0)];
    for (resource, limit) in limits {
        // The process may have a lower limit, which it cannot raise.
        let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let (current, maximum) = (limit.min(most), (limit + u64::from(resource == Resource::Cpu)).min(most));
        setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })?;
    }
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Judging has priority.
    let _ = setpriority_process(None, 10);
    Ok(())
}

/// Returns the address space of the program itself, in bytes.
fn own_memory() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|pages| pages.split(' ').next()?.parse::<u64>().ok());
    pages.unwrap_or_default() * rustix::param::page_size() as u64
}
