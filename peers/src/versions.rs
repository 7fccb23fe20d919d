//! The versions of what is compared, out of the lock file that it was built with.

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

/// The locked version of a crate.
pub(crate) fn locked(name: &str) -> Result<String> {
    let lock: Lock = toml::from_str(LOCK).context("peers/Cargo.lock is not as cargo writes it")?;
    let package = lock.package.into_iter().find(|package| package.name == name);
    Ok(package.with_context(|| format!("peers/Cargo.lock has no package {name}: build again"))?.version)
}
