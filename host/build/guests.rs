//! Builds the rules under `rules-wasm/` and makes packages of them. Used by the build script, and by the test that two
//! clean builds give the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{componentize, sections};

/// What the rules are compiled for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
const PROFILE: &str = "guest";

/// A rule's crate: a folder with a `rule.yml`, named as the crate is.
pub(crate) struct Guest {
    /// The crate's name.
    pub(crate) name: String,
    folder: PathBuf,
}

/// The rules of a workspace, by name.
pub(crate) fn discover(workspace: &Path) -> Result<Vec<Guest>> {
    let rules = workspace.join("rules-wasm");
    let mut guests = Vec::new();
    for entry in fs::read_dir(&rules).with_context(|| format!("cannot list {}", rules.display()))? {
        let folder = entry?.path();
        if folder.join("rule.yml").is_file() {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            guests.push(Guest { name, folder });
        }
    }
    guests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(guests)
}

/// Compiles the rules in a target directory of their own: one that is shared with the cargo that runs a build script
/// dead-locks.
pub(crate) fn compile(workspace: &Path, target_dir: &Path, guests: &[Guest]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace).args(["build", "--locked", "--quiet", "--target", TARGET, "--profile", PROFILE]);
    command.arg("--target-dir").arg(target_dir);
    for guest in guests {
        command.args(["--package", &guest.name]);
    }
    // What the caller asked of its own build (flags, coverage, clippy) is not meant for the rules, and would change them.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let is_setting = ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"].contains(&&*name)
            || ["CARGO_ENCODED_", "CARGO_PROFILE_", "CARGO_BUILD_", "CARGO_TARGET_", "CARGO_FEATURE_", "CARGO_CFG_"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
        if is_setting {
            command.env_remove(&*name);
        }
    }
    // Panics name source files; where those lie on this machine must not be in a package.
    let cargo_home =
        std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let mut flags = vec![format!("--remap-path-prefix={}=portcullis", workspace.display())];
    flags.extend(cargo_home.map(|home| format!("--remap-path-prefix={}=cargo", home.display())));
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));

    let status = command.status().context("cannot start cargo to build the rules")?;
    if !status.success() {
        bail!("the rules do not build for {TARGET} (the compiler's messages are above)");
    }
    Ok(())
}

/// Where the compiled module of a rule lies.
pub(crate) fn module(target_dir: &Path, guest: &Guest) -> PathBuf {
    target_dir.join(TARGET).join(PROFILE).join(guest.name.replace('-', "_")).with_extension("wasm")
}

/// The package of a rule that was compiled: its component, its spec and its manifest.
pub(crate) fn package(target_dir: &Path, guest: &Guest) -> Result<Vec<u8>> {
    let module = module(target_dir, guest);
    let core = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    let spec_file = guest.folder.join("rule.yml");
    let spec = fs::read(&spec_file).with_context(|| format!("cannot read {}", spec_file.display()))?;
    let manifests = sections::find(&core, sections::MANIFEST)?;
    let [manifest] = manifests[..] else {
        bail!("{}: export_rule! must stand there once, and stands {} times", guest.name, manifests.len());
    };
    let mut package = componentize::component(&core, &guest.name)
        .with_context(|| format!("{}: cannot make a component of it", guest.name))?;
    sections::append(&mut package, sections::SPEC, &spec);
    sections::append(&mut package, sections::MANIFEST, manifest);
    Ok(package)
}
