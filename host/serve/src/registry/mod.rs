//! The registry: takes packages that clients publish and the versions that they choose. They go into the folder that
//! this replica follows, or into the stores that all replicas follow.

mod fleet;
mod rate;

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use portcullis::activation::{Policy, PublishedFolder};
use portcullis::{Compiler, Engine, PackageLimits};
use serde_json::{Value, json};
use thiserror::Error;

pub(crate) use fleet::{Fleet, Settle};
pub(crate) use rate::Changes;

use crate::jetstream::JetStream;
use crate::machine::{Disk as _, RealDisk, blocking};

/// Applies a text in the form of `[activation]` to a policy. The error says what is wrong with the text.
pub type ReadPolicy = fn(&Policy, &str) -> Result<Policy, String>;

/// Where published packages and chosen versions go.
pub(crate) struct Registry {
    /// The names of the tenants.
    pub(crate) tenants: Arc<[Arc<str>]>,
    /// The folder that each tenant follows, if it follows one, and the limits of its packages.
    pub(crate) folders: Vec<(Option<PathBuf>, PackageLimits)>,
    pub(crate) published: PublishedFolder,
    /// Whether tenants without rules of their own get the packages that all replicas share.
    pub(crate) shares_rules: bool,
    pub(crate) jetstream: Option<Arc<JetStream>>,
    /// The engine to check packages with. It compiles nothing.
    pub(crate) engine: Engine,
    pub(crate) read_policy: ReadPolicy,
    pub(crate) changes: Changes,
}

/// A publication: the client and the tenant that it is for.
pub(crate) struct Publication<'p> {
    /// The client's name.
    pub(crate) client: &'p str,
    /// The client's tenant, if it has one. It must not publish for another.
    pub(crate) only: Option<usize>,
    /// The name of the tenant to publish for.
    pub(crate) tenant: &'p str,
}

/// The reason why something is not published.
#[derive(Debug, Error)]
pub(crate) enum RegistryError {
    /// The package or the text is invalid.
    #[error("{0}")]
    Invalid(String),
    /// Only the config may set this.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such tenant or package.
    #[error("{0}")]
    NotFound(String),
    /// It conflicts with what exists.
    #[error("{0}")]
    Conflict(String),
    /// The tenant's rules change too often. The next change may come after this time.
    #[error("the rules of the tenant change too often; the next change may come in {} s", .0.as_secs() + 1)]
    TooOften(Duration),
    /// A file or the server fails.
    #[error("{0}")]
    NotKept(String),
}

/// The target of a tenant's publications.
struct Target<'r> {
    folder: &'r Path,
    limits: PackageLimits,
    /// The stores, if the tenant shares its packages with all replicas.
    shared: Option<&'r JetStream>,
}

impl Registry {
    /// Publishes a package for a tenant. It becomes active on each replica after it has passed its checks there.
    pub(crate) async fn put_package(&self, by: Publication<'_>, body: Bytes) -> Result<Value, RegistryError> {
        let Target { folder, limits, shared } = self.target(&by)?;
        let compiler = Compiler::new(self.engine.clone()).with_limits(limits);
        let checked = body.to_vec();
        // Reading the spec and hashing take long for a large package.
        let package = blocking(move || compiler.candidate(checked, "the package")).await.map_err(not_kept)?;
        let package = package.map_err(|error| RegistryError::Invalid(error.to_string()))?;
        let file = package.file_name();
        let is_file_name = |c: char| c.is_ascii_alphanumeric() || "-_.@+".contains(c);
        if file.starts_with('.') || !file.chars().all(is_file_name) {
            let text = format!(
                "{file}: expected only letters, digits and - _ . + in rule ID and version, because they become a file name"
            );
            return Err(RegistryError::Invalid(text));
        }
        let path = folder.join(&file);
        if fs::read(&path).is_ok_and(|there| there != body) {
            let text = format!("{file} already exists with other content; raise the version of a changed rule");
            return Err(RegistryError::Conflict(text));
        }
        if !path.exists() {
            let length = body.len() as u64;
            let room = match shared {
                Some(jetstream) => {
                    // This replica may not have copied all of them yet.
                    let there = jetstream.packages_of(by.tenant).await.map_err(not_kept)?;
                    check_room(there.iter().map(|package| package.size), length)
                }
                None => check_room(lengths(folder), length),
            };
            room.map_err(RegistryError::Conflict)?;
        }
        match shared {
            Some(jetstream) => jetstream.put_package(by.tenant, &file, &body).await.map_err(not_kept)?,
            None => blocking(move || RealDisk.write_whole(&path, &body)).await.flatten().map_err(not_kept)?,
        }
        tracing::info!(client = by.client, tenant = by.tenant, file, sha256 = package.sha256(), "package published");
        Ok(json!({
            "tenant": by.tenant, "rule_id": package.rule_id(), "version": package.version().to_string(),
            "sha256": package.sha256(), "file": file,
        }))
    }

    /// Removes a package of a tenant.
    pub(crate) async fn remove_package(&self, by: Publication<'_>, file: &str) -> Result<Value, RegistryError> {
        let Target { folder, shared, .. } = self.target(&by)?;
        let path = folder.join(file);
        let is_of_folder = path.parent() == Some(folder) && is_package(file);
        if !is_of_folder || !path.is_file() {
            return Err(RegistryError::NotFound(format!("unknown package {file}")));
        }
        match shared {
            Some(jetstream) => jetstream.remove_package(by.tenant, file).await.map_err(not_kept)?,
            None => fs::remove_file(&path).map_err(not_kept)?,
        }
        tracing::info!(client = by.client, tenant = by.tenant, file, "package removed");
        Ok(json!({"tenant": by.tenant, "file": file, "removed": true}))
    }

    /// Sets the versions that a tenant wants, over those of the config. Without a text, those of the config apply
    /// again.
    pub(crate) async fn put_activation(
        &self,
        by: Publication<'_>,
        text: Option<String>,
    ) -> Result<Value, RegistryError> {
        let Target { shared, .. } = self.target(&by)?;
        if let Some(text) = &text {
            let policy = (self.read_policy)(&Policy::default(), text).map_err(RegistryError::Invalid)?;
            if policy.trusted_keys.is_some() {
                let text = "trusted-keys: only the config may set the trusted keys";
                return Err(RegistryError::Forbidden(text.to_owned()));
            }
        }
        if let Some(jetstream) = shared {
            jetstream.put_activation(by.tenant, text.as_deref()).await.map_err(not_kept)?;
        } else {
            let file = self.published.activation(by.tenant);
            let content = text.clone();
            let write = move || match content {
                Some(text) => RealDisk.write_whole(&file, text.as_bytes()),
                None => RealDisk.remove(&file),
            };
            blocking(write).await.flatten().map_err(not_kept)?;
        }
        tracing::info!(client = by.client, tenant = by.tenant, activation = text, "activation changed");
        Ok(json!({"tenant": by.tenant, "activation": text}))
    }

    /// Returns the target of a tenant's publications.
    fn target(&self, by: &Publication<'_>) -> Result<Target<'_>, RegistryError> {
        let name = by.tenant;
        let tenant = self.tenants.iter().position(|known| **known == *name);
        // A client of one tenant must not learn which others exist.
        let tenant = tenant.filter(|tenant| by.only.is_none_or(|only| only == *tenant));
        let tenant = tenant.ok_or_else(|| RegistryError::NotFound(format!("unknown tenant {name}")))?;
        let (folder, limits) = &self.folders[tenant];
        let folder = folder.as_deref().ok_or_else(|| {
            let text = format!("tenant {name} uses the embedded rules; set rules to a folder in the config");
            RegistryError::Conflict(text)
        })?;
        self.changes.take(tenant, Instant::now()).map_err(RegistryError::TooOften)?;
        let is_shared = self.shares_rules && folder == self.published.packages(name);
        let shared = if is_shared { self.jetstream.as_deref() } else { None };
        Ok(Target { folder, limits: *limits, shared })
    }
}

/// Checks that a tenant may publish another package beside these, of these lengths. A few more than that are no problem.
fn check_room(there: impl Iterator<Item = u64>, length: u64) -> Result<(), String> {
    let (count, bytes) = there.fold((1, length), |(count, bytes), length| (count + 1, bytes + length));
    let (most, most_bytes) = (PackageLimits::PACKAGES / 2, PackageLimits::PACKAGES_SIZE / 2);
    if count <= most && bytes <= most_bytes {
        return Ok(());
    }
    Err(format!(
        "the tenant would have {count} packages of {bytes} bytes, and may publish {most} of {most_bytes}; remove old versions"
    ))
}

/// Returns the lengths of the packages in a folder.
fn lengths(folder: &Path) -> impl Iterator<Item = u64> {
    let packages = fs::read_dir(folder).into_iter().flatten().flatten();
    let packages = packages.filter(|entry| entry.file_name().to_str().is_some_and(is_package));
    packages.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len()))
}

fn not_kept(error: impl Display) -> RegistryError {
    RegistryError::NotKept(error.to_string())
}

/// Returns whether a file has the name of a package.
fn is_package(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "wasm")
}
