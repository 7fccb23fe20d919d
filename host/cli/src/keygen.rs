//! `portcullis keygen`: a key to sign packages with.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use portcullis::package::SigningKey;

use crate::failure::{Exit, Failure, OrExit};
use crate::output::{Output, read_bounded};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the private key goes, as PEM (PKCS #8), readable by you alone
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// The longest file of a key in bytes.
const LONGEST_KEY: usize = 64 << 10;

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
        let key = file.is_file().then(|| read(file).ok()).flatten();
        let whose = key.map(|key| format!(": the key {}", key.public_key())).unwrap_or_default();
        bail!("{}: is there already{whose}; choose another file", file.display());
    }
    let cannot = || format!("{}: cannot be written", file.display());
    let mut opened = opened.with_context(cannot)?;
    let written = opened.write_all(key.to_pem().map_err(io::Error::other)?.as_bytes()).and_then(|()| opened.sync_all());
    if written.is_err() {
        // Half a key is none, and would be in the way of the next.
        let _ = std::fs::remove_file(file);
    }
    written.with_context(cannot)
}

/// The private key in a file.
pub(crate) fn read(file: &Path) -> anyhow::Result<SigningKey> {
    let bytes = read_bounded(file, LONGEST_KEY)?;
    SigningKey::from_pem(&String::from_utf8_lossy(&bytes)).with_context(|| format!("{}", file.display()))
}
