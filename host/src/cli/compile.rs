//! `portcullis compile`: the child process in which the packages of strangers are compiled. Nobody else calls it.

use std::io::{Read as _, Write as _, stdin, stdout};

use anyhow::Context as _;
use portcullis::package::precompile;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::failure::{Exit, Failure, OrExit};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// CPU time in seconds
    #[arg(long)]
    seconds: u64,
    /// Address space in bytes
    #[arg(long)]
    memory: u64,
}

/// A component on standard input; its native code on standard output.
pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    // Before the first byte of a stranger's is read. It writes no file, and leaves no dump of its memory.
    let limits =
        [(Resource::Cpu, args.seconds), (Resource::As, args.memory), (Resource::Fsize, 0), (Resource::Core, 0)];
    for (resource, limit) in limits {
        let limit = Rlimit { current: Some(limit), maximum: Some(limit + u64::from(resource == Resource::Cpu)) };
        setrlimit(resource, limit).with_context(|| format!("cannot limit {resource:?}")).or_exit(Exit::Setup)?;
    }
    let mut wasm = Vec::new();
    stdin().read_to_end(&mut wasm).context("cannot read the component").or_exit(Exit::Io)?;
    let code = precompile(&wasm).or_exit(Exit::Setup)?;
    stdout().write_all(&code).context("cannot write the native code").or_exit(Exit::Io)?;
    Ok(Exit::Done)
}
