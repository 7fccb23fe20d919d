//! `portcullis keygen`: a key to sign packages with.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use portcullis::package::SigningKey;

use super::failure::{Exit, Failure, OrExit};
use super::output::Output;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the private key goes, as PEM (PKCS #8), readable by you alone
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Writes the private key; the public one goes to standard output, as `trusted-keys` of a config takes it.
pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let key = SigningKey::generate().or_exit(Exit::Io)?;
    write(&key, &args.file).or_exit(Exit::Io)?;
    let mut output = Output::standard();
    output.write_line(&key.public_key().to_string())?;
    output.flush()?;
    Ok(Exit::Done)
}

fn write(key: &SigningKey, file: &Path) -> anyhow::Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    if opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
        let whose = match read(file) {
            Ok(key) => format!(": the key {}", key.public_key()),
            Err(_) => String::new(),
        };
        bail!("{}: is there already{whose}; choose another file", file.display());
    }
    opened
        .and_then(|mut opened| opened.write_all(key.to_pem().map_err(io::Error::other)?.as_bytes()))
        .with_context(|| format!("{}: cannot be written", file.display()))
}

/// The private key in a file.
pub(super) fn read(file: &Path) -> anyhow::Result<SigningKey> {
    let pem = std::fs::read_to_string(file).with_context(|| format!("{}: cannot be read", file.display()))?;
    SigningKey::from_pem(&pem).with_context(|| format!("{}", file.display()))
}
