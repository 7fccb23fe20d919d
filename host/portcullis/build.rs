//! Builds the rules under `rules-wasm/` as components, attaches their specs and manifests, and embeds the packages as
//! the default rules.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use guests::{PIPELINES, Pipeline, Profile, TARGET};

#[path = "src/package/componentize.rs"]
mod componentize;
#[path = "build/guests.rs"]
mod guests;
#[path = "src/package/sections.rs"]
mod sections;

fn main() {
    // Printed here because an error returned from `main` would carry a backtrace; the message says what to do.
    if let Err(error) = build() {
        eprintln!("{error:#}");
        std::process::exit(1);
    }
}

fn build() -> Result<()> {
    if std::env::var_os("CARGO_FEATURE_EMBEDDED").is_none() {
        return Ok(());
    }
    let variable = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .with_context(|| format!("{name} is not set: run this build script with cargo"))
    };
    let out = variable("OUT_DIR")?;
    let workspace = variable("CARGO_MANIFEST_DIR")?.join("../..").canonicalize()?;
    for input in ["rules-wasm", "wit", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    for source in ["build.rs", "build"] {
        println!("cargo::rerun-if-changed={source}");
    }
    for source in ["componentize.rs", "sections.rs"] {
        println!("cargo::rerun-if-changed=src/package/{source}");
    }

    let rules = guests::discover(&workspace)?;
    let target_dir = out.join("guests");
    install_target()?;
    guests::compile(&workspace, &target_dir, Profile::Guest, rules.iter().map(|rule| &rule.name))?;
    guests::compile(&workspace, &target_dir, Profile::Module, PIPELINES.iter().map(Pipeline::crate_name))?;

    let mut packages = Vec::new();
    for rule in &rules {
        packages.push((&*rule.name, guests::package(&target_dir, rule)?));
    }
    embed(&out, "embedded.rs", &packages)?;
    let mut pipelines = Vec::new();
    for pipeline in &PIPELINES {
        pipelines.push((pipeline.file, pipeline.wasm(&target_dir)?));
    }
    embed(&out, "pipelines.rs", &pipelines)?;
    fs::write(out.join("sdk.rs"), sdk(&workspace)?)?;
    Ok(())
}

/// Writes files, and a Rust table that has their names and includes their contents.
fn embed(out: &Path, table: &str, files: &[(&str, Vec<u8>)]) -> Result<()> {
    let mut lines = String::from("&[\n");
    for (name, bytes) in files {
        let file = out.join(name).with_extension("wasm");
        fs::write(&file, bytes)?;
        writeln!(lines, "    ({name:?}, include_bytes!({:?})),", file.display().to_string())?;
    }
    lines.push_str("]\n");
    fs::write(out.join(table), lines)?;
    Ok(())
}

/// Returns a Rust table of the SDK's source files for `portcullis new`: their paths in the new crate, and their texts.
fn sdk(workspace: &Path) -> Result<String> {
    let mut table = String::from("&[\n");
    for (from, to) in [("rules-wasm/event/src", "sdk/event/src"), ("rules-wasm/sdk/src", "sdk/rule/src")] {
        let folder = workspace.join(from);
        for file in files_in(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let name = file.strip_prefix(&folder)?.to_string_lossy().into_owned();
            writeln!(table, "    ({:?}, include_str!({:?})),", format!("{to}/{name}"), file.display().to_string())?;
        }
    }
    let wit = workspace.join("wit/detection.wit");
    writeln!(table, "    (\"wit/detection.wit\", include_str!({:?})),", wit.display().to_string())?;
    table.push_str("]\n");
    Ok(table)
}

/// Returns the files in a folder and its subfolders, sorted.
fn files_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_in(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}

/// Installs the compiler's target for the rules, if it is missing.
fn install_target() -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let libraries = libraries.context("cannot start rustc")?;
    if Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).is_dir() {
        return Ok(());
    }
    println!(
        "cargo::warning=the rules need the target {TARGET}, which is not installed: running `rustup target add {TARGET}`"
    );
    match Command::new("rustup").args(["target", "add", TARGET]).status() {
        Ok(status) if status.success() => Ok(()),
        _ => bail!(
            "the target {TARGET} is not installed, and `rustup target add {TARGET}` failed. \
             Install it for the toolchain in rust-toolchain.toml, then build again:\n\n    rustup target add {TARGET}\n"
        ),
    }
}
