//! `portcullis export`: the embedded packages as files, and what takes both rules into a pipeline.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use portcullis::{Engine, embedded};

use crate::failure::{Exit, Failure, OrExit};
use crate::output::{Output, write_wasm};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder that the packages go to; made if it does not exist. Its folder pipelines gets what runs both rules without
    /// this program: detector.wasm, fluent-bit.wasm and wasmcloud.wasm
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Write over files that are there with other content
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let engine = Engine::new().or_exit(Exit::Setup)?;
    // Whoever follows the folder of packages does not look into this one.
    let pipelines = args.folder.join("pipelines");
    fs::create_dir_all(&pipelines)
        .with_context(|| format!("{}: cannot be made", pipelines.display()))
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
