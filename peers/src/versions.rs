//! Versions of the compared crates, from the lock file that they were built with.

use anyhow::{Context as _, Result};
use serde::Deserialize;

const LOCK: &str = include_str!("../Cargo.lock");

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

/// Returns the locked version of a crate.
pub(crate) fn locked(name: &str) -> Result<String> {
    let lock: Lock =
        toml::from_str(LOCK).context("cannot read peers/Cargo.lock, expected a lock file written by cargo")?;
    let package = lock.package.into_iter().find(|package| package.name == name);
    Ok(package.with_context(|| format!("peers/Cargo.lock has no package {name}: build again"))?.version)
}
