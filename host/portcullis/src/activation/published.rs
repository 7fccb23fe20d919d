//! The folder of packages and versions that are published to a service.

use std::path::PathBuf;

/// The folder of published packages and selected versions.
#[derive(Clone, Debug)]
pub struct PublishedFolder(pub PathBuf);

impl PublishedFolder {
    /// Returns the folder of a tenant's packages.
    #[must_use]
    pub fn packages(&self, tenant: &str) -> PathBuf {
        self.0.join("packages").join(tenant)
    }

    /// Returns the file that replaces the config's `[activation]` for a tenant, which may be missing.
    #[must_use]
    pub fn activation(&self, tenant: &str) -> PathBuf {
        self.0.join("activation").join(format!("{tenant}.toml"))
    }
}
