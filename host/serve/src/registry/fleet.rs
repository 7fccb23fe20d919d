//! The fleet: all replicas share published packages and chosen versions, and each reports what it runs.
//!
//! Each replica copies both into its own folder and follows that folder like any other. So candidates pass their checks
//! on each replica, and a replica goes on with its copy while the server is unavailable.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use futures_util::future::BoxFuture;
use portcullis::activation::PublishedFolder;
use sha2::{Digest as _, Sha256};

use super::is_package;
use crate::ingest::Ingest;
use crate::jetstream::{CurrentProblem, Entry, JetStream, ObjectState, token};
use crate::machine::{Machine, read_whole, within};

/// The interval at which the stores are checked and the report is renewed.
const INTERVAL: Duration = Duration::from_secs(1);

/// Maximum time for removing the report at the end.
const WITHDRAWAL: Duration = Duration::from_secs(2);

/// The number of failed copies after which a replica goes on with what it has. Each round takes a second.
const MOST_FAILURES: u32 = 30;

/// Maximum number of bytes of a package that is fetched. A tenant's own limit may be lower.
const LARGEST: u64 = 256 << 20;

/// Waits until the rules that are in the folder now have been read. Their tenants' batches wait for their checks.
pub(crate) type Settle = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// This replica as a member of the fleet.
pub(crate) struct Fleet {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) jetstream: Arc<JetStream>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) published: PublishedFolder,
    pub(crate) replica: Arc<str>,
    pub(crate) settle: Settle,
    /// The number of copies in a row that failed for some tenant.
    pub(crate) failures: AtomicU32,
}

impl Fleet {
    /// Copies publications and reports what this replica runs, until the service stops.
    pub(crate) async fn follow(self) {
        let stopping = self.ingest.stopping.clone();
        let (mut problem, mut missing) = (CurrentProblem::default(), CurrentProblem::default());
        let mut seen = None;
        while !stopping.is_cancelled() {
            let result = async {
                if self.jetstream.settings.rules {
                    self.copy(&mut seen, &mut missing).await?;
                }
                self.jetstream.report(&self.replica, &self.ingest.stats.report(&self.replica)).await
            };
            // A server that does not answer must not hold up the end.
            let result = tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                result = result => result,
            };
            problem.set(result.err().map(|error| format!("{error:#}")));
            within(INTERVAL, stopping.cancelled()).await;
        }
        // Without the server, the report expires.
        within(WITHDRAWAL, self.jetstream.withdraw(&self.replica)).await;
    }

    /// Copies what was published since the last check. After the first copy, batches may be judged.
    async fn copy(&self, seen: &mut Option<String>, missing: &mut CurrentProblem) -> anyhow::Result<()> {
        let now = self.jetstream.broker.published_up_to().await?;
        if seen.as_ref() == Some(&now) {
            return Ok(());
        }
        let packages = self.jetstream.packages().await?;
        let (mut result, mut kept) = (Ok(()), Vec::new());
        for tenant in self.ingest.tenants.iter() {
            let copied = async {
                kept.extend(self.copy_packages(&packages, tenant).await?);
                self.copy_activation(tenant).await
            };
            // Another tenant's rules are copied nevertheless.
            result = result.and(copied.await.with_context(|| format!("published rules of {tenant}")));
        }
        missing.set((!kept.is_empty()).then(|| {
            let kept = kept.join(", ");
            format!("the server does not have these packages, and they were not removed; publish them again: {kept}")
        }));
        let failures = if result.is_ok() { 0 } else { self.failures.load(Ordering::Relaxed) + 1 };
        self.failures.store(failures, Ordering::Relaxed);
        // A package that can never be copied must not keep all tenants' batches waiting.
        if !self.ingest.has_published_rules() && (result.is_ok() || failures >= MOST_FAILURES) {
            (self.settle)().await;
            self.ingest.set_has_published_rules();
        }
        result?;
        *seen = Some(now);
        Ok(())
    }

    /// Copies the packages of a tenant. Removes those that were removed from the store. Returns those that the store
    /// does not have although they were not removed: a server that has lost its data must not take a tenant's rules.
    async fn copy_packages(&self, packages: &[ObjectState], tenant: &str) -> anyhow::Result<Vec<String>> {
        let (disk, folder) = (self.machine.disk(), self.published.packages(tenant));
        disk.create_folder(&folder).with_context(|| folder.display().to_string())?;
        let mut there = HashSet::new();
        let mut result = Ok(());
        for package in packages {
            let Some((of, file)) = package.name.split_once('/') else { continue };
            if of != token(tenant) || file.contains('/') || file.starts_with('.') || !is_package(file) {
                continue;
            }
            there.insert(file.to_owned());
            // The tenant's other packages do not wait for it.
            result = result.and(self.copy_package(package, &folder.join(file)).await);
        }
        result?;
        let mut kept = Vec::new();
        for file in disk.list(&folder)?.into_iter().filter(|file| is_package(file) && !there.contains(file)) {
            if self.jetstream.is_package_removed(tenant, &file).await? {
                disk.remove(&folder.join(file))?;
            } else {
                kept.push(format!("{tenant}/{file}"));
            }
        }
        Ok(kept)
    }

    async fn copy_package(&self, package: &ObjectState, path: &Path) -> anyhow::Result<()> {
        let digest = |bytes: Vec<u8>| format!("SHA-256={}", BASE64_URL_SAFE.encode(Sha256::digest(bytes)));
        if read_whole(self.machine.disk(), path)?.map(digest) == package.digest {
            return Ok(());
        }
        if package.size > LARGEST {
            bail!("{}: is too long; a package has at most {LARGEST} bytes", package.name);
        }
        let bytes = self.jetstream.read_package(&package.name).await?;
        self.machine.disk().write_whole(path, &bytes).with_context(|| path.display().to_string())
    }

    async fn copy_activation(&self, tenant: &str) -> anyhow::Result<()> {
        let (disk, path) = (self.machine.disk(), self.published.activation(tenant));
        match self.jetstream.activation(tenant).await? {
            Entry::There(text) if read_whole(disk, &path)?.as_deref() == Some(&*text) => Ok(()),
            Entry::There(text) => disk.write_whole(&path, &text).with_context(|| path.display().to_string()),
            Entry::Removed => disk.remove(&path).with_context(|| path.display().to_string()),
            // The server has lost it.
            Entry::Unknown => Ok(()),
        }
    }
}
