//! The command line.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{completions, explain, export, inspect, keygen, man, new, pack, rules, run, test};
#[cfg(feature = "serve")]
use crate::{demo, serve};

/// Detections for Kubernetes audit logs as sandboxed WebAssembly components.
#[derive(Parser)]
#[command(name = "portcullis", version, max_term_width = 100, before_help = EXAMPLES, after_help = EXIT_CODES, help_template = TEMPLATE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The help of a command: examples come before usage and options.
const TEMPLATE: &str = "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

const EXAMPLES: &str = "\
Examples:
  # Watch alerts arrive on a live page, without any set-up
  portcullis demo

  # Judge a log file with the embedded rules
  portcullis run audit.log

  # Show why a record raises an alert, or why it does not
  portcullis explain audit.log --record 3

  # Run the test cases of your own rules
  portcullis test rules/";

const EXIT_CODES: &str = "\
Results go to standard output. Summaries, progress and warnings go to standard error.

Exit codes:
  0    done
  1    a test case failed
  2    wrong usage
  3    a rule or the config could not be loaded
  4    input or output failed
  130  stopped by Ctrl-C or a termination signal";

#[derive(Subcommand)]
enum Command {
    /// Judge records from files or standard input, and write alerts
    Run(run::Args),
    /// Run as a service that takes records over HTTP and sends alerts to sinks
    #[cfg(feature = "serve")]
    Serve(serve::Args),
    /// Serve the live page on loopback, and send sample records to it one by one
    #[cfg(feature = "serve")]
    Demo(demo::Args),
    /// Run the test cases of rules in the sandbox
    Test(test::Args),
    /// Explain one record: its event, the answer of each rule, and why a rule was skipped
    Explain(explain::Args),
    /// Describe packages: ID, version, digest, sizes, imports, prefilter, test cases, signer
    Inspect(inspect::Args),
    /// Write the embedded packages to files
    Export(export::Args),
    /// List the versions of each rule, which one is active, and why others are not
    Rules(rules::Args),
    /// Create the crate of a new rule, ready to build, test and pack
    New(new::Args),
    /// Make a package from a component and a spec, and sign it
    Pack(pack::Args),
    /// Generate a key to sign packages with
    Keygen(keygen::Args),
    /// Write a script that lets a shell complete commands, options and values
    Completions(completions::Args),
    /// Write the manual pages
    Man(man::Args),
}

/// Returns the description of the command line.
fn command() -> clap::Command {
    Cli::command().mut_subcommands(|command| command.help_template(TEMPLATE))
}

/// Returns an error that lists the commands if there is none of the given name.
fn with_commands(mut error: clap::Error) -> clap::Error {
    if error.kind() == ErrorKind::InvalidSubcommand && error.get(ContextKind::SuggestedSubcommand).is_none() {
        let command = command();
        let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let tip = format!("the commands are {}", names.join(", ")).into();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

pub(crate) fn main() -> ExitCode {
    let cli = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = cli.unwrap_or_else(|error| with_commands(error).exit());
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args),
        #[cfg(feature = "serve")]
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::New(args) => new::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Completions(args) => completions::run(&args, command()),
        Command::Man(args) => man::run(&args, command()),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}
