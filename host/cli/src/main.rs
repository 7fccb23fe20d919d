//! The `portcullis` command.

mod activation;
mod annotate;
mod batch;
mod command;
mod completions;
mod config;
#[cfg(feature = "serve")]
mod demo;
mod explain;
mod export;
mod failure;
mod input;
mod inspect;
mod keygen;
#[cfg(feature = "serve")]
mod logs;
mod man;
mod new;
mod output;
mod outputs;
mod pack;
mod packages;
mod progress;
mod reorder_buffer;
mod rules;
mod run;
#[cfg(feature = "serve")]
mod serve;
mod setup;
mod signals;
mod sink;
mod stop;
mod test;
mod worker;
mod writer;

use std::process::ExitCode;

/// The allocator of static binaries: that of musl takes one lock for all threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portcullis::run_compile_child();
    on_a_known_stack(command::main)
}

/// Runs the command on a thread, because musl does not say how large the stack of the main thread can grow: each call of
/// a rule would map a stack of its own.
#[cfg(target_env = "musl")]
fn on_a_known_stack(command: fn() -> ExitCode) -> ExitCode {
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(command);
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(code)) => code,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(_) => command(),
    }
}

#[cfg(not(target_env = "musl"))]
fn on_a_known_stack(command: fn() -> ExitCode) -> ExitCode {
    command()
}
