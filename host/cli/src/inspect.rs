//! `portcullis inspect`: describes packages.

use std::path::PathBuf;

use portcullis::alert::printable;
use portcullis::package::{Pattern, WORLD};
use portcullis::rule_set::read_packages;
use portcullis::{Engine, Package};
use serde_json::json;

use crate::failure::{Exit, Failure, OrExit};
use crate::output::Output;
use crate::output::ReportFormat;
use crate::setup::GateArgs;

const EXAMPLES: &str = "\
Examples:
  # Describe one package
  portcullis inspect Custom.Pod.Exec@0.1.0.wasm

  # Print the digest of each package in a folder
  portcullis inspect rules/ --format json | jq -r '.rule_id + \" \" + .sha256'";

#[derive(clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// Packages, or folders of packages
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Format of the description
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    format: ReportFormat,
    #[command(flatten)]
    gate: GateArgs,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let limits = args.gate.limits()?;
    let engine = Engine::with_stack(limits.stack).or_exit(Exit::Setup)?;
    let compiler = args.gate.compiler(&engine, limits.package)?;
    let mut output = Output::standard();
    for file in &args.files {
        for package in read_packages(&compiler, file).or_exit(Exit::Setup)? {
            output.write_line(&match args.format {
                ReportFormat::Text => text(&package),
                ReportFormat::Json => json(&package),
            })?;
        }
    }
    output.flush()?;
    Ok(Exit::Done)
}

fn text(package: &Package) -> String {
    let sizes = package.sizes();
    let spec = package.spec();
    let listed = |names: &[String]| {
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let fields = package.prefilter().fields().iter();
    let prefilter: Vec<String> =
        fields.map(|(field, patterns)| format!("{} is {}", field.name(), Pattern::any_of(patterns))).collect();
    let prefilter = if prefilter.is_empty() { "none: every event".to_owned() } else { prefilter.join(", and ") };
    let log_types: Vec<&str> = spec.log_types.iter().map(|log_type| log_type.as_str()).collect();
    let size = format!(
        "{} bytes = {} component + {} spec + {} manifest + {} signature",
        sizes.package, sizes.component, sizes.spec, sizes.manifest, sizes.signature
    );
    let mut text = format!("{} {}\n", printable(package.rule_id()), package.version());
    for (name, value) in [
        ("name", &spec.display_name),
        ("file", &package.origin().to_owned()),
        ("sha256", &package.sha256().to_owned()),
        ("size", &size),
        ("world", &WORLD.to_owned()),
        ("imports", &listed(&package.surface().imports)),
        ("exports", &listed(&package.surface().exports)),
        ("severity", &spec.severity.to_string()),
        ("enabled", &spec.enabled.to_string()),
        ("log types", &log_types.join(", ")),
        ("prefilter", &prefilter),
        ("test cases", &spec.test_cases.len().to_string()),
        ("signer", &package.signer().map_or_else(|| "none: not signed".to_owned(), ToString::to_string)),
    ] {
        text.push_str(&format!("    {name:<10} {}\n", printable(value)));
    }
    text
}

fn json(package: &Package) -> String {
    let sizes = package.sizes();
    let spec = package.spec();
    json!({
        "rule_id": package.rule_id(),
        "version": package.version().to_string(),
        "display_name": spec.display_name,
        "file": package.origin(),
        "sha256": package.sha256(),
        "sizes": {
            "package": sizes.package,
            "component": sizes.component,
            "spec": sizes.spec,
            "manifest": sizes.manifest,
            "signature": sizes.signature,
        },
        "world": WORLD,
        "imports": package.surface().imports,
        "exports": package.surface().exports,
        "severity": spec.severity,
        "enabled": spec.enabled,
        "log_types": spec.log_types,
        "prefilter": package.prefilter().to_json(),
        "test_cases": spec.test_cases.iter().map(|case| &case.name).collect::<Vec<_>>(),
        "signer": package.signer().map(ToString::to_string),
    })
    .to_string()
}
