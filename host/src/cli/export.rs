//! `portcullis export`: the embedded packages as files.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use portcullis::{Engine, embedded};

use super::failure::{Exit, Failure, OrExit};
use super::output::{Output, write_package};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder that the packages go to; made if it does not exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let engine = Engine::new().or_exit(Exit::Setup)?;
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display())).or_exit(Exit::Io)?;
    let mut output = Output::standard();
    for package in embedded::packages(&engine).or_exit(Exit::Setup)? {
        let file = folder.join(package.file_name());
        write_package(&package, &file, false).or_exit(Exit::Io)?;
        output.write_line(&file.display().to_string())?;
    }
    output.flush()?;
    Ok(Exit::Done)
}
