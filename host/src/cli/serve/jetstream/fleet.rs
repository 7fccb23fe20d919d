//! What all replicas share about rules: the packages that are published, which versions are wanted, and who runs what.
//!
//! | store | what it holds |
//! |---|---|
//! | object store `<prefix>-packages` | `<tenant>/<RuleID>@<version>.wasm` |
//! | key-value bucket `<prefix>-activation` | by tenant what is in the place of the config's `[activation]` |
//! | key-value bucket `<prefix>-replicas` | by replica what it runs, for as long as it says so |
//!
//! Each replica has a copy of the first two in its own folder, which it follows as it follows any: so it proves candidates
//! itself, and starts from what it had when no server is there.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use async_nats::jetstream::kv;
use async_nats::jetstream::object_store::{ObjectInfo, ObjectStore};
use async_nats::jetstream::stream::{self, DiscardPolicy};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::time::sleep;

use super::super::Service;
use super::super::publishing::{is_package, write_or_remove, write_whole};
use super::{JetStream, tell, token};

/// How often it is looked for what has been published, and said what is run.
const LOOK: Duration = Duration::from_secs(1);

/// Who has not said for so long what it runs is gone.
const GONE: Duration = Duration::from_secs(10);

/// The largest package that is fetched; what each tenant takes is for it to say.
const LARGEST: usize = 256 << 20;

impl Service {
    /// Keeps this replica's copy of what is published in line, and says what it runs, until the service ends.
    pub(in super::super) async fn follow_fleet(self: Arc<Self>, jetstream: Arc<JetStream>) {
        let mut told = None;
        let mut seen = None;
        while !*self.ends.borrow() {
            let result = async {
                if jetstream.settings.rules {
                    self.copy(&jetstream, &mut seen).await?;
                }
                jetstream.report(&self.replica, &self.report()).await
            };
            tell(&mut told, result.await.err().map(|error| format!("{error:#}")));
            sleep(LOOK).await;
        }
        let _ = jetstream.withdraw(&self.replica).await;
    }

    /// What this replica runs.
    pub(in super::super) fn report(&self) -> Value {
        json!({
            "replica": self.replica, "version": env!("CARGO_PKG_VERSION"), "rules": self.figures.rules(None),
        })
    }

    /// Copies what has been published since it was looked last.
    async fn copy(&self, jetstream: &JetStream, seen: &mut Option<(u64, u64)>) -> anyhow::Result<()> {
        let packages = jetstream.packages().await?;
        let activation = jetstream.bucket("activation", Duration::ZERO).await?;
        let last = async |stream: String| -> anyhow::Result<u64> {
            let stream = jetstream.context.get_stream(stream).await.map_err(|error| anyhow!(error))?;
            Ok(stream.cached_info().state.last_sequence)
        };
        let now = (
            last(format!("OBJ_{}", jetstream.name("packages"))).await?,
            last(format!("KV_{}", jetstream.name("activation"))).await?,
        );
        if *seen == Some(now) {
            return Ok(());
        }
        let objects: Vec<ObjectInfo> = packages.list().await?.try_collect().await.map_err(|error| anyhow!(error))?;
        for name in &self.figures.names {
            self.copy_packages(&packages, &objects, name).await.with_context(|| format!("packages of {name}"))?;
            let wanted = activation.get(token(name)).await.map_err(|error| anyhow!(error))?;
            let file = self.publishing.published.activation(name);
            if fs::read(&file).ok() != wanted.as_ref().map(|wanted| wanted.to_vec()) {
                write_or_remove(&file, wanted.as_deref()).with_context(|| file.display().to_string())?;
            }
        }
        *seen = Some(now);
        Ok(())
    }

    async fn copy_packages(&self, packages: &ObjectStore, objects: &[ObjectInfo], tenant: &str) -> anyhow::Result<()> {
        let folder = self.publishing.published.packages(tenant);
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
                bail!("{}: is longer than {LARGEST} bytes, which no package is", object.name);
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

impl JetStream {
    async fn packages(&self) -> anyhow::Result<ObjectStore> {
        self.object_store("packages", Duration::ZERO).await
    }

    async fn bucket(&self, of: &str, max_age: Duration) -> anyhow::Result<kv::Store> {
        let bucket = self.name(of);
        if let Ok(store) = self.context.get_key_value(&bucket).await {
            return Ok(store);
        }
        // The stream that a bucket is (ADR-8 of NATS): the library's own way asks a server of 2.9 what it does not tell.
        let config = stream::Config {
            name: format!("KV_{bucket}"),
            subjects: vec![format!("$KV.{bucket}.>")],
            max_messages_per_subject: 1,
            max_age,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            discard: DiscardPolicy::New,
            num_replicas: self.settings.replicas,
            ..stream::Config::default()
        };
        self.context.get_or_create_stream(config).await.with_context(|| format!("bucket {bucket}"))?;
        self.context.get_key_value(&bucket).await.with_context(|| format!("bucket {bucket}"))
    }

    pub(in super::super) async fn put_package(&self, tenant: &str, file: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let name = format!("{}/{file}", token(tenant));
        self.packages().await?.put(&*name, &mut &*bytes).await?;
        Ok(())
    }

    pub(in super::super) async fn remove_package(&self, tenant: &str, file: &str) -> anyhow::Result<()> {
        self.packages().await?.delete(format!("{}/{file}", token(tenant))).await?;
        Ok(())
    }

    pub(in super::super) async fn put_activation(&self, tenant: &str, text: Option<&str>) -> anyhow::Result<()> {
        let bucket = self.bucket("activation", Duration::ZERO).await?;
        match text {
            Some(text) => drop(bucket.put(token(tenant), text.to_owned().into()).await?),
            None => bucket.delete(token(tenant)).await?,
        }
        Ok(())
    }

    async fn report(&self, replica: &str, report: &Value) -> anyhow::Result<()> {
        let bucket = self.bucket("replicas", GONE).await?;
        bucket.put(key(replica), report.to_string().into()).await?;
        Ok(())
    }

    async fn withdraw(&self, replica: &str) -> anyhow::Result<()> {
        self.bucket("replicas", GONE).await?.delete(key(replica)).await?;
        Ok(())
    }

    /// What each replica says that it runs.
    pub(in super::super) async fn reports(&self) -> anyhow::Result<Vec<Value>> {
        let bucket = self.bucket("replicas", GONE).await?;
        let mut keys: Vec<String> = bucket.keys().await?.try_collect().await?;
        keys.sort();
        let mut reports = Vec::new();
        for key in keys {
            let report = bucket.get(key).await?;
            reports.extend(report.and_then(|report| serde_json::from_slice(&report).ok()));
        }
        Ok(reports)
    }
}

/// A replica's name as a key.
fn key(replica: &str) -> String {
    replica.chars().map(|c| if c.is_ascii_alphanumeric() || "-_=".contains(c) { c } else { '_' }).collect()
}
