//! Builds the rules under `rules-wasm/` as components, attaches their specs and manifests, and embeds the packages as
//! the default rules.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

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
    guests::install_target()?;
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
