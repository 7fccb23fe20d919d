//! `portcullis pack`: a package of a component, whoever wrote it and in whatever language.

use std::path::PathBuf;

use anyhow::anyhow;
use portcullis::package::{PackError, Packed, Recipe, pack};
use portcullis::{Engine, Package, PackageLimits, test_cases};
use semver::Version;
use serde_json::{Map, Value};

use crate::failure::{Exit, Failure, OrExit, warn};
use crate::keygen;
use crate::output::{Output, read_bounded, write_wasm};
use crate::packages::compiler;
use crate::setup::LimitsArgs;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A component of the world portcullis:detection/detection; a core module that wit-bindgen has prepared for it; or a
    /// package, to sign it or to change what is given
    #[arg(value_name = "COMPONENT")]
    component: PathBuf,
    /// The rule's spec, Panther's YAML [default: the package's own]
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// The rule's version [default: the package's own, or the crate's, where the SDK has written it]
    #[arg(long)]
    version: Option<Version>,
    /// A value that a field of the event must have for the rule to match, * at its end for a beginning; several of one
    /// field are alternatives [default: the package's own, else every event]
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field_and_value)]
    prefilter: Vec<(String, String)>,
    /// The private key to sign it with, as keygen writes it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Where the package goes: a file, or a folder that is there [default: <RuleID>@<version>.wasm]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write over a file that is there with other content
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    limits: LimitsArgs,
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

/// The longest module in bytes: before it is made a component, names and debug information may be in it.
const LONGEST_MODULE: usize = 64 << 20;

/// The package, which has passed all that a host asks before it runs one; of test cases that fail it is told.
fn package(args: &Args) -> Result<Package, Failure> {
    let limits = args.limits.load()?;
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
    let package = compiler(&engine, limits.package).package(&bytes, &origin).or_exit(Exit::Setup)?;
    if let Some(signer) = unsigned {
        warn(format_args!("warning: {origin}: the signature of {signer} is left out; sign it again with --key"));
    }
    let failed = test_cases::run(&package, limits.limits, |_| true).iter().filter(|result| !result.passed()).count();
    if failed > 0 {
        warn(format_args!(
            "warning: {failed} of its test cases fail, and so it runs nowhere; `portcullis test` says more"
        ));
    }
    Ok(package)
}

fn field_and_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(field, value)| !field.is_empty() && !value.is_empty());
    let (field, value) = pair.ok_or("expected FIELD=VALUE, such as verb=create or username=system:*")?;
    Ok((field.to_owned(), value.to_owned()))
}

/// For each field its values; none where no field is given.
fn prefilter(given: &[(String, String)]) -> Option<Map<String, Value>> {
    let mut fields = Map::new();
    for (field, value) in given {
        let values = fields.entry(field).or_insert_with(|| Value::Array(Vec::new()));
        values.as_array_mut().expect("a list").push(value.clone().into());
    }
    (!fields.is_empty()).then_some(fields)
}
