//! `portcullis completions`: writes what lets a shell complete commands, options and values.

use clap_complete::Shell;

use crate::failure::{Exit, Failure};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  # For bash, from the next login on
  portcullis completions bash > ~/.local/share/bash-completion/completions/portcullis

  # For zsh, if this folder is in fpath
  portcullis completions zsh > ~/.zfunc/_portcullis";

#[derive(clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Writes the script for this program to standard output.
pub(crate) fn run(args: &Args, mut program: clap::Command) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "portcullis", &mut script);
    let mut output = Output::standard();
    output.write_bytes(&script)?;
    output.flush()?;
    Ok(Exit::Done)
}
