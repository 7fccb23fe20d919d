//! `portcullis export`: writes the embedded packages and the components for pipelines to files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use portcullis::{Engine, embedded};

use crate::failure::{Exit, Failure, OrExit};
use crate::output::{Output, write_wasm};

const EXAMPLES: &str = "\
Examples:
  # Write each package as rules/<RuleID>@<version>.wasm
  portcullis export rules/

  # Run those packages, and add your own to the folder later
  portcullis run --rules rules/ --watch audit.log";

#[derive(clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder for the packages, created if it does not exist. Its subfolder pipelines gets the components that run both
    /// rules without this program: detector.wasm, fluent-bit.wasm and wasmcloud.wasm
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Overwrite files that have other content
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let engine = Engine::new().or_exit(Exit::Setup)?;
    // `--rules` does not search subfolders, so these components are not taken for packages.
    let pipelines = args.folder.join("pipelines");
    fs::create_dir_all(&pipelines)
        .with_context(|| format!("{}: cannot be created", pipelines.display()))
        .or_exit(Exit::Io)?;
    let mut output = Output::standard();
    let mut export = |bytes: &[u8], file: &Path| {
        write_wasm(bytes, file, args.force).or_exit(Exit::Io)?;
        output.write_line(&file.display().to_string())
    };
    for package in embedded::packages(&engine).or_exit(Exit::Setup)? {
        export(package.bytes(), &args.folder.join(package.file_name()))?;
    }
    for (name, bytes) in embedded::PIPELINES {
        export(bytes, &pipelines.join(name).with_extension("wasm"))?;
    }
    output.flush()?;
    Ok(Exit::Done)
}
