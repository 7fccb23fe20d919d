//! Builds the rules under `rules-wasm/` as packages, and the modules that run both rules in a pipeline without a host.
//! Used by the build script, and by the test that two clean builds give the same bytes.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::slice;

use anyhow::{Context as _, Result, bail};

use super::{componentize, sections};

/// The target that the rules are compiled for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// A cargo profile, which also selects the crates of one call of cargo. Crates of different profiles must not share
/// features.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    /// Rules, each as a component.
    Guest,
    /// Modules that contain both rules as functions.
    Module,
}

impl Profile {
    /// The profile's name, and that of its folder in a target directory.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Module => "module",
        }
    }
}

/// The crates that run both rules in a pipeline.
pub(crate) const PIPELINES: [Pipeline; 3] = [
    Pipeline { file: "detector", is_component: true },
    Pipeline { file: "fluent-bit", is_component: false },
    Pipeline { file: "wasmcloud", is_component: true },
];

/// A crate that runs both rules in a pipeline.
pub(crate) struct Pipeline {
    /// Name of its folder, and of the built file without its extension.
    pub(crate) file: &'static str,
    is_component: bool,
}

impl Pipeline {
    /// The crate's name.
    pub(crate) fn crate_name(&self) -> String {
        format!("portcullis-{}", self.file)
    }

    /// Returns the compiled WebAssembly in the form that its users load: a component, or a core module.
    pub(crate) fn wasm(&self, target_dir: &Path) -> Result<Vec<u8>> {
        let name = self.crate_name();
        let module = module(target_dir, Profile::Module, &name);
        let core = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
        if self.is_component {
            componentize::component(&core, &name)
                .with_context(|| format!("{name}: cannot make a component from its module"))
        } else {
            componentize::with_own_names(&core, &name)
        }
    }
}

/// A rule's crate. Its folder has a `rule.yml` and the crate's name.
pub(crate) struct Guest {
    /// The crate's name.
    pub(crate) name: String,
    folder: PathBuf,
}

/// Returns the rules of a workspace, sorted by name.
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

/// Compiles crates in a separate target directory: sharing one with the cargo that runs this build script would
/// deadlock.
pub(crate) fn compile<N: AsRef<OsStr>>(
    workspace: &Path,
    target_dir: &Path,
    profile: Profile,
    crates: impl IntoIterator<Item = N>,
) -> Result<()> {
    let crates: Vec<N> = crates.into_iter().collect();
    match profile {
        // A rule's crate is also a library, and cargo optimizes nothing at link time that is. So it gets another type
        // here, which it can get only alone.
        Profile::Guest => crates.iter().try_for_each(|one| {
            cargo(workspace, target_dir, profile, &["rustc", "--crate-type", "cdylib"], slice::from_ref(one))
        }),
        Profile::Module => cargo(workspace, target_dir, profile, &["build"], &crates),
    }
}

/// Runs one of cargo's commands on crates.
fn cargo<N: AsRef<OsStr>>(
    workspace: &Path,
    target_dir: &Path,
    profile: Profile,
    command_and_options: &[&str],
    crates: &[N],
) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace).args(command_and_options).args(["--locked", "--quiet", "--target", TARGET]);
    command.args(["--profile", profile.name()]);
    command.arg("--target-dir").arg(target_dir);
    for name in crates {
        command.arg("--package").arg(name);
    }
    // The settings of the outer build (flags, coverage, clippy) would change the rules, so they are removed.
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
    // Panic messages contain the paths of source files, and a package must not contain paths of the machine that built
    // it.
    let cargo_home =
        std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let mut flags = vec![format!("--remap-path-prefix={}=portcullis", workspace.display())];
    flags.extend(cargo_home.map(|home| format!("--remap-path-prefix={}=cargo", home.display())));
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));

    let status = command.status().context("cannot start cargo to build the rules")?;
    if !status.success() {
        bail!("cannot compile the rules for {TARGET} (the compiler's messages are above)");
    }
    Ok(())
}

/// Returns the path of a crate's compiled module.
pub(crate) fn module(target_dir: &Path, profile: Profile, crate_name: &str) -> PathBuf {
    target_dir.join(TARGET).join(profile.name()).join(crate_name.replace('-', "_")).with_extension("wasm")
}

/// Returns the package of a compiled rule: its component, its spec and its manifest.
pub(crate) fn package(target_dir: &Path, guest: &Guest) -> Result<Vec<u8>> {
    let module = module(target_dir, Profile::Guest, &guest.name);
    let core = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    let spec_file = guest.folder.join("rule.yml");
    let spec = fs::read(&spec_file).with_context(|| format!("cannot read {}", spec_file.display()))?;
    let manifests = sections::find(&core, sections::MANIFEST)?;
    let [manifest] = manifests[..] else {
        bail!("{}: found {} uses of export_rule!, expected one", guest.name, manifests.len());
    };
    let mut package = componentize::component(&core, &guest.name)
        .with_context(|| format!("{}: cannot make a component from its module", guest.name))?;
    sections::append(&mut package, sections::SPEC, &spec);
    sections::append(&mut package, sections::MANIFEST, manifest);
    Ok(package)
}
