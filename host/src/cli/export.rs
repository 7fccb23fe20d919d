//! `portcullis export`: the embedded packages as files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use portcullis::{Engine, Package, embedded};

use super::failure::{Exit, Failure, OrExit};
use super::output::Output;

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
        write(&package, &file).or_exit(Exit::Io)?;
        output.write_line(&file.display().to_string())?;
    }
    output.flush()?;
    Ok(Exit::Done)
}

/// Writes a package whole or not at all. A file that is there with other bytes is somebody's: it stays.
fn write(package: &Package, file: &Path) -> anyhow::Result<()> {
    match fs::read(file) {
        Ok(bytes) if bytes == package.bytes() => return Ok(()),
        Ok(_) => bail!("{}: is there with other content; remove it, or choose another folder", file.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("{}: cannot be read", file.display())),
    }
    let part = file.with_extension("wasm.part");
    fs::write(&part, package.bytes())
        .and_then(|()| fs::rename(&part, file))
        .with_context(|| format!("{}: cannot be written", file.display()))
}
