//! Publications of a service: packages, and the versions that its tenants want.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use portcullis::activation::{Policy, PublishedFolder};

use crate::config::{Config, policy_over};

/// The packages and chosen versions that are published to a service.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) folder: PublishedFolder,
    /// Whether tenants without rules of their own use the published packages.
    pub(crate) rules: bool,
}

impl Published {
    /// Returns a tenant's policy, with the versions that are published for the tenant.
    pub(super) fn policy(published: Option<&Self>, tenant: &str, policy: Policy) -> Result<Policy, String> {
        let Some(file) = published.map(|published| published.folder.activation(tenant)) else { return Ok(policy) };
        match fs::read_to_string(&file) {
            Ok(text) => policy_over(&policy, &text)
                // Only the config says whose packages are trusted.
                .map(|published| Policy { trusted_keys: policy.trusted_keys, ..published })
                .map_err(|error| format!("{}: {error}", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(policy),
            Err(error) => Err(format!("{}: cannot be read: {error}", file.display())),
        }
    }
}

/// Reads the config again and returns the policies of these tenants, by their numbers at the activator. Everything else
/// in the config takes effect at the next start.
pub(super) fn policies(
    file: &Path,
    published: Option<&Published>,
    names: &[(Arc<str>, Option<usize>)],
) -> Result<Vec<(usize, Policy)>, String> {
    let config = Config::read(file).map_err(|error| error.to_string())?;
    let tenants = config.tenants().map_err(|error| error.to_string())?;
    let mut policies = Vec::new();
    for (name, followed) in names {
        let tenant = tenants.iter().find(|tenant| tenant.name == **name);
        let removed = || format!("{}: tenant {name} was removed; restart to add or remove tenants", file.display());
        let policy = &tenant.ok_or_else(removed)?.policy;
        match followed {
            Some(number) => policies.push((*number, Published::policy(published, name, policy.clone())?)),
            None => config.check_embedded(name, policy).map_err(|error| error.to_string())?,
        }
    }
    Ok(policies)
}
