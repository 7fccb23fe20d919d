//! Compiles the rules' specs into the library: the properties that they give to alerts.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The crates of the rules.
const RULES: [&str; 2] = ["nodeport-service", "system-principal-public-ip"];

/// The keys of a spec that concern alerts. The host's build and tests check specs against the whole of Panther's
/// schema.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    #[serde(rename = "RuleID")]
    rule_id: String,
    log_types: Vec<String>,
    severity: String,
    #[serde(default = "default_dedup_period")]
    dedup_period_minutes: u32,
    #[serde(default)]
    reports: Reports,
    reference: Option<String>,
    runbook: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
}

/// Panther's default, in minutes.
fn default_dedup_period() -> u32 {
    60
}

#[derive(Default, Deserialize)]
struct Reports {
    #[serde(default, rename = "MITRE ATT&CK")]
    mitre: Vec<String>,
}

fn main() -> Result<()> {
    let mut specs = String::new();
    for rule in RULES {
        let file = Path::new("..").join(rule).join("rule.yml");
        println!("cargo::rerun-if-changed={}", file.display());
        let yaml = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let spec: Spec =
            serde_saphyr::from_str(&yaml).with_context(|| format!("{} is not a valid spec", file.display()))?;
        let name = rule.replace('-', "_").to_uppercase();
        writeln!(
            specs,
            "const {name}: Spec = Spec {{ rule_id: {:?}, log_types: &{:?}, severity: Severity::{}, \
             dedup_period_minutes: {}, mitre: &{:?}, reference: {:?}, runbook: {:?}, tags: &{:?} }};",
            spec.rule_id,
            spec.log_types,
            spec.severity,
            spec.dedup_period_minutes,
            spec.reports.mitre,
            spec.reference,
            spec.runbook,
            spec.tags
        )?;
    }
    let out = env::var_os("OUT_DIR").context("OUT_DIR is not set: run this build script with cargo")?;
    fs::write(Path::new(&out).join("specs.rs"), specs)?;
    Ok(())
}
