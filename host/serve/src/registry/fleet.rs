//! The fleet: all replicas share published packages and chosen versions, and each reports what it runs.
//!
//! Each replica copies both into its own folder and follows that folder like any other. So candidates pass their checks
//! on each replica, and a replica can start from its copy while the server is unavailable.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use async_nats::jetstream::object_store::{ObjectInfo, ObjectStore};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Registry, is_package};
use crate::jetstream::{CurrentProblem, JetStream, token};
use crate::stats::Stats;
use crate::storage::{write_or_remove, write_whole};

/// The interval at which the stores are checked and the report is renewed.
const INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of bytes of a package that is fetched. A tenant's own limit may be lower.
const LARGEST: usize = 256 << 20;

/// This replica as a member of the fleet.
pub(crate) struct Fleet {
    pub(crate) registry: Arc<Registry>,
    pub(crate) jetstream: Arc<JetStream>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) replica: Arc<str>,
}

impl Fleet {
    /// Copies publications and reports what this replica runs, until the service stops.
    pub(crate) async fn follow(self, stopping: CancellationToken) {
        let mut problem = CurrentProblem::default();
        let mut seen = None;
        while !stopping.is_cancelled() {
            let result = async {
                if self.jetstream.settings.rules {
                    self.copy(&mut seen).await?;
                }
                self.jetstream.report(&self.replica, &self.stats.report(&self.replica)).await
            };
            problem.set(result.await.err().map(|error| format!("{error:#}")));
            tokio::select! {
                () = stopping.cancelled() => {}
                () = sleep(INTERVAL) => {}
            }
        }
        let _ = self.jetstream.withdraw(&self.replica).await;
    }

    /// Copies what was published since the last check.
    async fn copy(&self, seen: &mut Option<(u64, u64)>) -> anyhow::Result<()> {
        let now = self.jetstream.published_up_to().await?;
        if *seen == Some(now) {
            return Ok(());
        }
        let (packages, activation) = (self.jetstream.packages().await?, self.jetstream.activation().await?);
        let objects: Vec<ObjectInfo> = packages.list().await?.try_collect().await.map_err(|error| anyhow!(error))?;
        for name in self.registry.tenants.iter() {
            self.copy_packages(&packages, &objects, name).await.with_context(|| format!("packages of {name}"))?;
            let wanted = activation.get(token(name)).await.map_err(|error| anyhow!(error))?;
            let file = self.registry.published.activation(name);
            if fs::read(&file).ok() != wanted.as_ref().map(|wanted| wanted.to_vec()) {
                write_or_remove(&file, wanted.as_deref()).with_context(|| file.display().to_string())?;
            }
        }
        *seen = Some(now);
        Ok(())
    }

    async fn copy_packages(&self, packages: &ObjectStore, objects: &[ObjectInfo], tenant: &str) -> anyhow::Result<()> {
        let folder = self.registry.published.packages(tenant);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let mut there = HashSet::new();
        for object in objects {
            let Some((of, file)) = object.name.split_once('/') else { continue };
            if of != token(tenant) || file.contains('/') || file.starts_with('.') || !is_package(file) {
                continue;
            }
            there.insert(file.to_owned());
            let path = folder.join(file);
            let digest = |bytes: Vec<u8>| format!("SHA-256={}", BASE64_URL_SAFE.encode(Sha256::digest(bytes)));
            if fs::read(&path).ok().map(digest) == object.digest {
                continue;
            }
            if object.size > LARGEST {
                bail!("{}: is too long; a package has at most {LARGEST} bytes", object.name);
            }
            let mut bytes = Vec::new();
            packages.get(&object.name).await?.read_to_end(&mut bytes).await?;
            write_whole(&path, &bytes).with_context(|| path.display().to_string())?;
        }
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if is_package(name) && !there.contains(name) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}
