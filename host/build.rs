//! Builds the rules under `rules-wasm/` as components, attaches their specs and manifests, and embeds the packages as
//! the default rules.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use guests::TARGET;

#[path = "build/guests.rs"]
mod guests;
#[path = "src/package/sections.rs"]
mod sections;

fn main() {
    // Without the backtrace that an error from `main` would carry: the message says what to do.
    if let Err(error) = build() {
        eprintln!("{error:#}");
        std::process::exit(1);
    }
}

fn build() -> Result<()> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).with_context(|| format!("cargo sets {name}"));
    let out = variable("OUT_DIR")?;
    let workspace = variable("CARGO_MANIFEST_DIR")?.join("..").canonicalize()?;
    for input in ["rules-wasm", "wit", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    for source in ["build.rs", "build", "src/package/sections.rs"] {
        println!("cargo::rerun-if-changed={source}");
    }

    let rules = guests::discover(&workspace)?;
    let target_dir = out.join("guests");
    install_target()?;
    guests::compile(&workspace, &target_dir, &rules)?;

    let mut table = String::from("&[\n");
    for rule in &rules {
        let file = out.join(&rule.name).with_extension("wasm");
        fs::write(&file, guests::package(&target_dir, rule)?)?;
        writeln!(table, "    ({:?}, include_bytes!({:?})),", rule.name, file.display().to_string())?;
    }
    table.push_str("]\n");
    fs::write(out.join("embedded.rs"), table)?;
    Ok(())
}

/// Installs the compiler's target for the rules where it is missing.
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
