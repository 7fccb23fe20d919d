//! The command line: what can be asked, and how an answer ends.

mod activation;
mod annotated;
mod batch;
mod compile;
mod explain;
mod export;
mod failure;
mod input;
mod inspect;
mod judging;
mod keygen;
mod new;
mod outlet;
mod output;
mod pack;
mod progress;
mod rules;
mod run;
mod seen;
mod serve;
mod setup;
mod sink;
mod stop;
mod telling;
mod test;
mod web;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use portcullis::{Compiler, Engine, Package, PackageLimits, embedded, read_packages};

use failure::{Exit, Failure, OrExit};

/// Detections for Kubernetes audit logs as sandboxed WebAssembly components.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Results go to standard output; summaries and warnings to standard error.

Exit codes: 0 done; 1 a vector failed; 2 wrong usage; 3 a rule or the config could not be loaded;
4 input or output failed; 130 stopped by Ctrl-C or a termination signal.";

#[derive(Subcommand)]
enum Command {
    /// Records in, alerts out
    Run(run::Args),
    /// Take records over HTTP, and give alerts to sinks, as a service
    Serve(serve::Args),
    /// Run the test vectors of rules in the sandbox
    Test(test::Args),
    /// Tell of one record what it became, what each rule said, and why a rule was not asked
    Explain(explain::Args),
    /// Describe packages: id, version, digest, sizes, world, imports, prefilter, vectors, signer
    Inspect(inspect::Args),
    /// Write the embedded packages as <RuleID>@<version>.wasm
    Export(export::Args),
    /// List the versions of rules that there are, which are active, since when, and why others are not
    Rules(rules::Args),
    /// Make a rule's crate to start from: it builds, tests and packs
    New(new::Args),
    /// Make a package of a component and a spec, signed or not
    Pack(pack::Args),
    /// Make a key to sign packages with
    Keygen(keygen::Args),
    /// Compile a component, as a child process of the other commands
    #[command(hide = true)]
    Compile(compile::Args),
}

/// How a report is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For a person
    Text,
    /// For a program
    Json,
}

pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::New(args) => new::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Compile(args) => compile::run(&args),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}

/// What compiles the packages of strangers: this very program as a child process, whatever has become of its file.
fn compiler(engine: &Engine, limits: PackageLimits) -> Compiler {
    Compiler::new(engine.clone()).with_limits(limits).in_child(PathBuf::from("/proc/self/exe"))
}

/// The packages of these paths, or the embedded ones without a path.
fn load_packages(engine: &Engine, paths: &[PathBuf], limits: PackageLimits) -> Result<Vec<Package>, Failure> {
    if paths.is_empty() {
        return embedded::packages(engine).or_exit(Exit::Setup);
    }
    let compiler = compiler(engine, limits);
    let mut packages = Vec::new();
    for path in paths {
        packages.extend(read_packages(&compiler, path).or_exit(Exit::Setup)?);
    }
    Ok(packages)
}
