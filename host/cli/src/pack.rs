//! `portcullis pack`: makes a package from a component in any language.

use std::path::PathBuf;

use anyhow::anyhow;
use portcullis::package::{PackError, Packed, Recipe, pack};
use portcullis::{Engine, Package, PackageLimits, test_cases};
use semver::Version;
use serde_json::{Map, Value};

use crate::failure::{Exit, Failure, OrExit, warn};
use crate::keygen;
use crate::output::{Output, read_bounded, write_wasm};
use crate::setup::GateArgs;

const EXAMPLES: &str = "\
Examples:
  # Make a package from a crate that uses the SDK
  portcullis pack target/wasm32-unknown-unknown/release/pod_exec.wasm --spec rule.yml

  # Make a package from a component in another language, with a prefilter
  portcullis pack rule.wasm --spec rule.yml --version 1.2.0 --prefilter verb=create

  # Sign an existing package
  portcullis pack Custom.Pod.Exec@0.1.0.wasm --key signing-key.pem --force";

#[derive(clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// Component of the world portcullis:detection/detection, or a core module that wit-bindgen has prepared for it. Or
    /// a package, to sign it or to change its parts
    #[arg(value_name = "COMPONENT")]
    component: PathBuf,
    /// Spec of the rule, in Panther's YAML [default: the package's own]
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Version of the rule [default: the package's own, or the crate's if it uses the SDK]
    #[arg(long)]
    version: Option<Version>,
    /// Value that a field of the event must have, with * at its end for a prefix. Can be repeated: values of one field
    /// are alternatives, and all fields must hold [default: the package's own, else every event]
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field_and_value)]
    prefilter: Vec<(String, String)>,
    /// File with the private key to sign with, as keygen writes it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// File for the package, or an existing folder [default: <RuleID>@<version>.wasm]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite a file that has other content
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    gate: GateArgs,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let package = package(args)?;
    let output = match &args.output {
        None => PathBuf::from(package.file_name()),
        Some(folder) if folder.is_dir() => folder.join(package.file_name()),
        Some(file) => file.clone(),
    };
    write_wasm(package.bytes(), &output, args.force).or_exit(Exit::Io)?;
    let mut stdout = Output::standard();
    stdout.write_line(&output.display().to_string())?;
    stdout.flush()?;
    Ok(Exit::Done)
}

/// Maximum number of bytes of a module, which may still contain names and debug information.
const LONGEST_MODULE: usize = 64 << 20;

/// Makes the package, checks it as a host does, and warns if test cases fail.
fn package(args: &Args) -> Result<Package, Failure> {
    let limits = args.gate.limits()?;
    let origin = args.component.display().to_string();
    let wasm = read_bounded(&args.component, LONGEST_MODULE).or_exit(Exit::Setup)?;
    let spec = args.spec.as_ref().map(|file| read_bounded(file, PackageLimits::SPEC));
    let spec = spec.transpose().or_exit(Exit::Setup)?;
    let key = args.key.as_deref().map(keygen::read).transpose().or_exit(Exit::Setup)?;
    let prefilter = prefilter(&args.prefilter);
    let recipe = Recipe {
        spec: spec.as_deref(),
        version: args.version.as_ref(),
        prefilter: prefilter.as_ref(),
        key: key.as_ref(),
    };
    let crate_name = args.component.file_stem().unwrap_or_default().to_string_lossy();
    let Packed { bytes, unsigned } = pack(&wasm, &crate_name, &recipe)
        .map_err(|error| match (&error, &args.spec) {
            (PackError::Spec(error), Some(spec)) => anyhow!("{}: the spec is refused: {error}", spec.display()),
            _ => anyhow!("{origin}: {error}"),
        })
        .or_exit(Exit::Setup)?;
    let engine = Engine::with_stack(limits.stack).or_exit(Exit::Setup)?;
    let package = args.gate.compiler(&engine, limits.package)?.package(&bytes, &origin).or_exit(Exit::Setup)?;
    if let Some(signer) = unsigned {
        warn(format_args!(
            "warning: {origin}: the signature of {signer} was removed; sign the package again with --key"
        ));
    }
    let failed = test_cases::run(&package, limits.limits, |_| true).iter().filter(|result| !result.passed()).count();
    if failed > 0 {
        warn(format_args!(
            "warning: test cases that fail: {failed}; no host activates the package. `portcullis test` shows the details"
        ));
    }
    Ok(package)
}

fn field_and_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(field, value)| !field.is_empty() && !value.is_empty());
    let (field, value) = pair.ok_or("expected FIELD=VALUE, such as verb=create or username=system:*")?;
    Ok((field.to_owned(), value.to_owned()))
}

/// Returns the values of each field, or `None` if no field is given.
fn prefilter(given: &[(String, String)]) -> Option<Map<String, Value>> {
    let mut fields = Map::new();
    for (field, value) in given {
        let values = fields.entry(field).or_insert_with(|| Value::Array(Vec::new()));
        values.as_array_mut().expect("a list").push(value.clone().into());
    }
    (!fields.is_empty()).then_some(fields)
}
