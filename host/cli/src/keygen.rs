//! `portcullis keygen`: generates a key to sign packages with.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use portcullis::package::SigningKey;

use crate::failure::{Exit, Failure, OrExit};
use crate::output::{Output, read_bounded};

const EXAMPLES: &str = "\
Examples:
  # Generate a key, and print its public key for trusted-keys in a config
  portcullis keygen signing-key.pem

  # Sign a package with it
  portcullis pack rule.wasm --spec rule.yml --key signing-key.pem";

#[derive(clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// File for the private key, in PEM (PKCS #8), which only you can read
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Maximum number of bytes of a key file.
const LONGEST_KEY: usize = 64 << 10;

/// Writes the private key to the file, and the public key to standard output in the form of `trusted-keys` in a config.
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
        let key = file.is_file().then(|| read(file).ok()).flatten();
        let whose = key.map(|key| format!(" and holds the key {}", key.public_key())).unwrap_or_default();
        bail!("{}: already exists{whose}; choose another file", file.display());
    }
    let cannot = || format!("{}: cannot be written", file.display());
    let mut opened = opened.with_context(cannot)?;
    let written = opened.write_all(key.to_pem().map_err(io::Error::other)?.as_bytes()).and_then(|()| opened.sync_all());
    if written.is_err() {
        // Half a key is useless, and the file would block the next attempt.
        let _ = std::fs::remove_file(file);
    }
    written.with_context(cannot)
}

/// Reads the private key in a file.
pub(crate) fn read(file: &Path) -> anyhow::Result<SigningKey> {
    let bytes = read_bounded(file, LONGEST_KEY)?;
    SigningKey::from_pem(&String::from_utf8_lossy(&bytes)).with_context(|| format!("{}", file.display()))
}
