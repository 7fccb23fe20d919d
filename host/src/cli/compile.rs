//! `portcullis compile`: the child process in which the packages of strangers are compiled. Nobody else calls it.

use std::io::{Read as _, Write as _, stdin, stdout};

use anyhow::{Context as _, anyhow};
use portcullis::package::precompile;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, nice, set_parent_process_death_signal, setrlimit};

use super::failure::{Exit, Failure, OrExit};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// CPU time in seconds
    #[arg(long)]
    seconds: u64,
    /// Address space in bytes, besides the program's own
    #[arg(long)]
    memory: u64,
}

/// The stack on which a component is validated and compiled, in bytes.
const STACK: usize = 64 << 20;

/// The address space that the program itself takes, in bytes: no package is to blame for it.
fn own() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|pages| pages.split(' ').next()?.parse::<u64>().ok());
    pages.unwrap_or_default() * rustix::param::page_size() as u64
}

/// A component on standard input; its native code on standard output.
pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    // Before the first byte of a stranger's is read. It writes no file, and leaves no dump of its memory.
    let limits =
        [(Resource::Cpu, args.seconds), (Resource::As, args.memory + own()), (Resource::Fsize, 0), (Resource::Core, 0)];
    for (resource, limit) in limits {
        // What this process was started with may be less already, and cannot be more.
        let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let (current, maximum) = (limit.min(most), (limit + u64::from(resource == Resource::Cpu)).min(most));
        let limit = Rlimit { current: Some(current), maximum: Some(maximum) };
        setrlimit(resource, limit).with_context(|| format!("cannot limit {resource:?}")).or_exit(Exit::Setup)?;
    }
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot end with its parent").or_exit(Exit::Setup)?;
    // Whoever judges events meanwhile goes first.
    let _ = nice(10);
    let mut wasm = Vec::new();
    stdin().read_to_end(&mut wasm).context("cannot read the component").or_exit(Exit::Io)?;
    // Parts of a component can be nested deeper than the stack that a process is given.
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || precompile(&wasm));
    let compiled = thread.context("cannot start a thread").or_exit(Exit::Setup)?.join();
    let code = compiled.map_err(|_| anyhow!("the compiler failed")).or_exit(Exit::Setup)?.or_exit(Exit::Setup)?;
    stdout().write_all(&code).context("cannot write the native code").or_exit(Exit::Io)?;
    Ok(Exit::Done)
}
