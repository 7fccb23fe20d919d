//! The command line: what can be asked, and how an answer ends.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[cfg(feature = "serve")]
use crate::serve;
use crate::{explain, export, inspect, keygen, new, pack, rules, run, test};

/// Detections for Kubernetes audit logs as sandboxed WebAssembly components.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Results go to standard output; summaries and warnings to standard error.

Exit codes: 0 done; 1 a test case failed; 2 wrong usage; 3 a rule or the config could not be loaded;
4 input or output failed; 130 stopped by Ctrl-C or a termination signal.";

#[derive(Subcommand)]
enum Command {
    /// Records in, alerts out
    Run(run::Args),
    /// Take records over HTTP, and give alerts to sinks, as a service
    #[cfg(feature = "serve")]
    Serve(serve::Args),
    /// Run the test cases of rules in the sandbox
    Test(test::Args),
    /// Tell of one record what it became, what each rule said, and why a rule was not asked
    Explain(explain::Args),
    /// Describe packages: id, version, digest, sizes, world, imports, prefilter, test cases, signer
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
}

pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::New(args) => new::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Keygen(args) => keygen::run(&args),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}
