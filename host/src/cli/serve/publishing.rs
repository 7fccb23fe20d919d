//! Packages that are brought over HTTP, and which versions are wanted: into the folder that this replica follows, or into the
//! stores that all of them do.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::StatusCode;
use portcullis::activation::Policy;
use portcullis::config::{Role, policy_over};
use portcullis::{Compiler, Engine, PackageLimits};
use serde_json::{Value, json};

use super::Service;
use super::clients::Known;
use super::jetstream::JetStream;
use super::routes::Denied;
use crate::cli::setup::Published;

/// Where what is published goes.
pub(super) struct Publishing {
    /// By tenant: the folder that it follows, if it follows one, and what a package may be.
    pub(super) folders: Vec<(Option<PathBuf>, PackageLimits)>,
    pub(super) published: Published,
    /// Which checks what is brought; it compiles nothing.
    pub(super) engine: Engine,
}

impl Publishing {
    /// The folder of a tenant whose rules are in files.
    fn folder(&self, tenant: usize, name: &str) -> Result<(&Path, PackageLimits), Denied> {
        let (folder, limits) = &self.folders[tenant];
        let folder = folder.as_deref().ok_or_else(|| {
            let text = format!("the rules of {name} come with the program; give it a folder of rules in the config");
            Denied::new(StatusCode::CONFLICT, text)
        })?;
        Ok((folder, *limits))
    }

    /// Whether a tenant's packages are those of all replicas.
    fn is_shared(&self, folder: &Path, name: &str) -> bool {
        self.published.rules && folder == self.published.packages(name)
    }
}

impl Service {
    /// The number of a tenant by its name, if this client may publish for it.
    fn publishes(&self, client: &Known, name: &str) -> Result<usize, Denied> {
        if !client.may(Role::Publish) {
            return Err(Denied::role(client, Role::Publish));
        }
        let tenant = self.figures.names.iter().position(|known| **known == *name);
        // To who is a tenant's, all others are not there.
        let tenant = tenant.filter(|tenant| client.tenant.is_none_or(|own| own == *tenant));
        tenant.ok_or_else(|| Denied::new(StatusCode::NOT_FOUND, format!("there is no tenant {name}")))
    }

    fn stores(&self) -> Result<&JetStream, Denied> {
        self.jetstream.as_deref().ok_or_else(|| Denied::new(StatusCode::CONFLICT, "there is no JetStream".to_owned()))
    }

    /// Takes a package for a tenant. Whether it becomes active is seen among the rules: each replica has it prove itself.
    pub(super) async fn put_package(
        self: &Arc<Self>,
        client: &Known,
        name: &str,
        body: Vec<u8>,
    ) -> Result<Value, Denied> {
        let tenant = self.publishes(client, name)?;
        let (folder, limits) = self.publishing.folder(tenant, name)?;
        let checked =
            Compiler::new(self.publishing.engine.clone()).with_limits(limits).candidate(body.clone(), "the package");
        let package = checked.map_err(|error| Denied::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        let file = package.file_name();
        let is_file_name = |c: char| c.is_ascii_alphanumeric() || "-_.@+".contains(c);
        if file.starts_with('.') || !file.chars().all(is_file_name) {
            let text =
                format!("{file} would be the file's name: expected letters, digits and - _ . + in id and version");
            return Err(Denied::new(StatusCode::BAD_REQUEST, text));
        }
        let is_there = |what: &str| {
            let text = format!("{file} is there with other content; a changed rule is another version{what}");
            Denied::new(StatusCode::CONFLICT, text)
        };
        let path = folder.join(&file);
        match fs::read(&path) {
            Ok(there) if there != body => return Err(is_there("")),
            _ => {}
        }
        if self.publishing.is_shared(folder, name) {
            self.stores()?.put_package(name, &file, &body).await.map_err(|error| failed(&error))?;
        } else {
            write_whole(&path, &body).map_err(|error| failed(&error))?;
        }
        tracing::info!(
            client = &*client.name,
            tenant = name,
            file,
            sha256 = package.sha256(),
            "a package is published"
        );
        Ok(json!({
            "tenant": name, "rule_id": package.rule_id(), "version": package.version().to_string(),
            "sha256": package.sha256(), "file": file,
        }))
    }

    /// Takes a package away from a tenant.
    pub(super) async fn remove_package(&self, client: &Known, name: &str, file: &str) -> Result<Value, Denied> {
        let tenant = self.publishes(client, name)?;
        let (folder, _) = self.publishing.folder(tenant, name)?;
        let path = folder.join(file);
        let is_of_folder = path.parent() == Some(folder) && is_package(file);
        if !is_of_folder || !path.is_file() {
            return Err(Denied::new(StatusCode::NOT_FOUND, format!("there is no package {file}")));
        }
        if self.publishing.is_shared(folder, name) {
            self.stores()?.remove_package(name, file).await.map_err(|error| failed(&error))?;
        } else {
            fs::remove_file(&path).map_err(|error| failed(&error))?;
        }
        tracing::info!(client = &*client.name, tenant = name, file, "a package is removed");
        Ok(json!({"tenant": name, "file": file, "removed": true}))
    }

    /// Says which versions a tenant wants, in the place of what the config says; or, with nothing, as the config says again.
    pub(super) async fn put_activation(
        &self,
        client: &Known,
        name: &str,
        text: Option<String>,
    ) -> Result<Value, Denied> {
        let tenant = self.publishes(client, name)?;
        let (folder, _) = self.publishing.folder(tenant, name)?;
        if let Some(text) = &text {
            let checked = policy_over(&Policy::default(), text);
            let checked = checked.map_err(|error| Denied::new(StatusCode::BAD_REQUEST, error))?;
            if checked.trusted_keys.is_some() {
                let error = "trusted-keys: whose packages are trusted is for the config to say";
                return Err(Denied::new(StatusCode::FORBIDDEN, error.to_owned()));
            }
        }
        if self.publishing.is_shared(folder, name) {
            self.stores()?.put_activation(name, text.as_deref()).await.map_err(|error| failed(&error))?;
        } else {
            let file = self.publishing.published.activation(name);
            write_or_remove(&file, text.as_deref().map(str::as_bytes)).map_err(|error| failed(&error))?;
        }
        tracing::info!(client = &*client.name, tenant = name, activation = text, "other versions are wanted");
        Ok(json!({"tenant": name, "activation": text}))
    }
}

/// Whether a file's name is a package's.
pub(super) fn is_package(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "wasm")
}

fn failed(error: &impl std::fmt::Display) -> Denied {
    tracing::error!(error = %error, "what is published cannot be kept");
    Denied::busy(StatusCode::SERVICE_UNAVAILABLE, "it cannot be kept now")
}

/// Writes a file whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Who follows the folder does not take it for a package.
    let mut part = tempfile::Builder::new().prefix(".portcullis-").suffix(".part").tempfile_in(folder)?;
    part.write_all(bytes)?;
    part.as_file().sync_all()?;
    part.persist(path)?;
    Ok(())
}

/// Makes a file have this content, or not be there.
pub(super) fn write_or_remove(path: &Path, bytes: Option<&[u8]>) -> io::Result<()> {
    match bytes {
        Some(bytes) => write_whole(path, bytes),
        None => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}
