//! Packages, activation, reports and leases at the server.

use bytes::Bytes;
use serde_json::Value;

use super::broker::{Bucket, Entry, ObjectState, Objects};
use super::{JetStream, token};

/// The name of a tenant's package in the store.
fn object_name(tenant: &str, file: &str) -> String {
    format!("{}/{file}", token(tenant))
}

impl JetStream {
    /// Returns the packages of all tenants.
    pub(crate) async fn packages(&self) -> anyhow::Result<Vec<ObjectState>> {
        self.broker.objects(Objects::Packages).await
    }

    /// Returns the packages of a tenant.
    pub(crate) async fn packages_of(&self, tenant: &str) -> anyhow::Result<Vec<ObjectState>> {
        let of_tenant = object_name(tenant, "");
        let mut packages = self.packages().await?;
        packages.retain(|package| package.name.starts_with(&of_tenant));
        Ok(packages)
    }

    /// Returns the content of a package.
    pub(crate) async fn read_package(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        self.broker.read_object(Objects::Packages, name).await
    }

    /// Returns whether a tenant's package was removed from the store, in contrast to one that the store never had, or
    /// has lost.
    pub(crate) async fn is_package_removed(&self, tenant: &str, file: &str) -> anyhow::Result<bool> {
        let entry = self.broker.object(Objects::Packages, &object_name(tenant, file)).await?;
        Ok(entry == Entry::Removed)
    }

    pub(crate) async fn put_package(&self, tenant: &str, file: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.broker.put_object(Objects::Packages, &object_name(tenant, file), bytes).await
    }

    pub(crate) async fn remove_package(&self, tenant: &str, file: &str) -> anyhow::Result<()> {
        self.broker.remove_object(Objects::Packages, &object_name(tenant, file)).await
    }

    /// Returns the activation text of a tenant.
    pub(crate) async fn activation(&self, tenant: &str) -> anyhow::Result<Entry<Bytes>> {
        self.broker.value(Bucket::Activation, &token(tenant)).await
    }

    pub(crate) async fn put_activation(&self, tenant: &str, text: Option<&str>) -> anyhow::Result<()> {
        match text {
            Some(text) => self.broker.set_value(Bucket::Activation, &token(tenant), text.to_owned().into()).await,
            None => self.broker.remove_value(Bucket::Activation, &token(tenant)).await,
        }
    }

    /// Reports what a replica runs.
    pub(crate) async fn report(&self, replica: &str, report: &Value) -> anyhow::Result<()> {
        self.broker.set_value(Bucket::Replicas, &key(replica), report.to_string().into()).await
    }

    /// Removes the report of a replica.
    pub(crate) async fn withdraw(&self, replica: &str) -> anyhow::Result<()> {
        self.broker.remove_value(Bucket::Replicas, &key(replica)).await
    }

    /// Returns the reports of all replicas, in the order of their names.
    pub(crate) async fn reports(&self) -> anyhow::Result<Vec<Value>> {
        let mut reports = Vec::new();
        for key in self.broker.keys(Bucket::Replicas).await? {
            if let Entry::There(report) = self.broker.value(Bucket::Replicas, &key).await? {
                reports.extend(serde_json::from_slice(&report).ok());
            }
        }
        Ok(reports)
    }

    /// Takes or renews the lease of a task for a replica. Returns whether the replica has it now.
    pub(crate) async fn take_lease(&self, task: &str, replica: &str) -> anyhow::Result<bool> {
        let holder = Bytes::from(replica.to_owned());
        match self.broker.value(Bucket::Leases, task).await? {
            Entry::There(other) if other != holder => Ok(false),
            Entry::There(_) => {
                self.broker.set_value(Bucket::Leases, task, holder).await?;
                Ok(true)
            }
            Entry::Removed | Entry::Unknown => self.broker.create_value(Bucket::Leases, task, holder).await,
        }
    }
}

/// Returns a replica's name as a key.
fn key(replica: &str) -> String {
    replica.chars().map(|c| if c.is_ascii_alphanumeric() || "-_=".contains(c) { c } else { '_' }).collect()
}
