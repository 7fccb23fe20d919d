//! `portcullis man`: writes the manual pages.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap_mangen::Man;

use crate::failure::{Exit, Failure, OrExit};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  # Write the pages to where man looks for yours
  portcullis man ~/.local/share/man/man1

  # Read one of them
  man portcullis-run";

#[derive(clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder for the pages, created if it does not exist. Each command has a page, which replaces an older one
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes a page for this program and one for each of its commands, and prints their files.
pub(crate) fn run(args: &Args, program: clap::Command) -> Result<Exit, Failure> {
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("{}: cannot be created", folder.display())).or_exit(Exit::Io)?;
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut output = Output::standard();
    let pages = [program.clone()].into_iter().chain(program.get_subcommands().cloned());
    for command in pages {
        // Pages have no place for what comes before the usage.
        let rest = [command.get_after_help(), command.get_before_help()].map(|text| text.map(ToString::to_string));
        let command = command.after_help(rest.into_iter().flatten().collect::<Vec<_>>().join("\n\n"));
        let page = Man::new(command).source(concat!("portcullis ", env!("CARGO_PKG_VERSION")));
        let (file, mut text) = (folder.join(page.get_filename()), Vec::new());
        page.render(&mut text).or_exit(Exit::Io)?;
        fs::write(&file, text).with_context(|| format!("{}: cannot be written", file.display())).or_exit(Exit::Io)?;
        output.write_line(&file.display().to_string())?;
    }
    output.flush()?;
    Ok(Exit::Done)
}
