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

fn main() -> ExitCode {
    portcullis::run_compile_child();
    command::main()
}
