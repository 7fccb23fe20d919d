//! Packages, activation and reports at the server.
//!
//! | store | what it holds |
//! |---|---|
//! | object store `<prefix>-packages` | `<tenant>/<RuleID>@<version>.wasm` |
//! | key-value bucket `<prefix>-activation` | by tenant, the text that replaces the config's `[activation]` |
//! | key-value bucket `<prefix>-replicas` | by replica, the rules that it runs; an entry expires when the replica is gone |

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use async_nats::jetstream::kv;
use async_nats::jetstream::object_store::ObjectStore;
use async_nats::jetstream::stream::{self, DiscardPolicy};
use futures_util::TryStreamExt as _;
use serde_json::Value;

use super::{JetStream, token};

/// Maximum age of a replica's report.
const REPORT_AGE: Duration = Duration::from_secs(10);

impl JetStream {
    /// Returns the numbers of the last changes to packages and to activation.
    pub(crate) async fn published_up_to(&self) -> anyhow::Result<(u64, u64)> {
        self.packages().await?;
        self.activation().await?;
        let last = async |stream: String| -> anyhow::Result<u64> {
            let stream = self.context.get_stream(stream).await.map_err(|error| anyhow!(error))?;
            Ok(stream.cached_info().state.last_sequence)
        };
        let packages = last(format!("OBJ_{}", self.name("packages"))).await?;
        Ok((packages, last(format!("KV_{}", self.name("activation"))).await?))
    }

    /// Returns the store of packages.
    pub(crate) async fn packages(&self) -> anyhow::Result<ObjectStore> {
        self.object_store("packages", Duration::ZERO).await
    }

    /// Returns the bucket of activation texts.
    pub(crate) async fn activation(&self) -> anyhow::Result<kv::Store> {
        self.bucket("activation", Duration::ZERO).await
    }

    async fn bucket(&self, of: &str, max_age: Duration) -> anyhow::Result<kv::Store> {
        let bucket = self.name(of);
        if let Ok(store) = self.context.get_key_value(&bucket).await {
            return Ok(store);
        }
        // Creates the stream of a bucket directly (ADR-8 of NATS), because the library needs an answer that a server of
        // 2.9 does not give.
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

    pub(crate) async fn put_package(&self, tenant: &str, file: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let name = format!("{}/{file}", token(tenant));
        self.packages().await?.put(&*name, &mut &*bytes).await?;
        Ok(())
    }

    pub(crate) async fn remove_package(&self, tenant: &str, file: &str) -> anyhow::Result<()> {
        self.packages().await?.delete(format!("{}/{file}", token(tenant))).await?;
        Ok(())
    }

    pub(crate) async fn put_activation(&self, tenant: &str, text: Option<&str>) -> anyhow::Result<()> {
        let bucket = self.activation().await?;
        match text {
            Some(text) => drop(bucket.put(token(tenant), text.to_owned().into()).await?),
            None => bucket.delete(token(tenant)).await?,
        }
        Ok(())
    }

    /// Reports what a replica runs.
    pub(crate) async fn report(&self, replica: &str, report: &Value) -> anyhow::Result<()> {
        let bucket = self.bucket("replicas", REPORT_AGE).await?;
        bucket.put(key(replica), report.to_string().into()).await?;
        Ok(())
    }

    /// Removes the report of a replica.
    pub(crate) async fn withdraw(&self, replica: &str) -> anyhow::Result<()> {
        self.bucket("replicas", REPORT_AGE).await?.delete(key(replica)).await?;
        Ok(())
    }

    /// Returns the reports of all replicas, in the order of their names.
    pub(crate) async fn reports(&self) -> anyhow::Result<Vec<Value>> {
        let bucket = self.bucket("replicas", REPORT_AGE).await?;
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

/// Returns a replica's name as a key.
fn key(replica: &str) -> String {
    replica.chars().map(|c| if c.is_ascii_alphanumeric() || "-_=".contains(c) { c } else { '_' }).collect()
}
