//! `portcullis new`: creates the crate of a new rule.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use portcullis::embedded;

use crate::failure::{Exit, Failure, OrExit};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  # Create the crate pod-exec in a folder of this name, and print the next steps
  portcullis new pod-exec

  # Build it and run its test cases
  cd pod-exec
  cargo build --release --target wasm32-unknown-unknown
  portcullis pack target/wasm32-unknown-unknown/release/pod_exec.wasm --spec rule.yml
  portcullis test Custom.Pod.Exec@0.1.0.wasm";

#[derive(clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// Name of the crate and of its new folder: lowercase letters, digits and -, such as pod-exec
    #[arg(value_name = "NAME")]
    name: String,
}

/// The files of the crate. `{{…}}` is replaced with the name in one of its forms.
const TEMPLATE: &[(&str, &str)] = &[
    (".gitignore", "/target\n"),
    ("Cargo.toml", include_str!("template/Cargo.toml.in")),
    ("README.md", include_str!("template/README.md.in")),
    ("rustfmt.toml", include_str!("../../../rustfmt.toml")),
    ("rule.yml", include_str!("template/rule.yml.in")),
    ("sdk/event/Cargo.toml", include_str!("template/event.toml.in")),
    ("sdk/rule/Cargo.toml", include_str!("template/rule.toml.in")),
    ("src/lib.rs", include_str!("template/lib.rs.in")),
];

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let name = &args.name;
    if let Some(wrong) = wrong_name(name) {
        return Err(Failure::new(Exit::Usage, anyhow!("{name:?} is not a valid name: {wrong}")));
    }
    let folder = PathBuf::from(name);
    if folder.symlink_metadata().is_ok() {
        return Err(Failure::new(Exit::Io, anyhow!("{name}: already exists; choose another name")));
    }
    for (path, text) in TEMPLATE.iter().chain(embedded::SDK) {
        let file = folder.join(path);
        let parent = file.parent().unwrap_or(&folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&file, filled(text, name)))
            .with_context(|| format!("{}: cannot be written", file.display()))
            .or_exit(Exit::Io)?;
    }
    let mut output = Output::standard();
    output.write(&filled(include_str!("template/steps.txt.in"), name))?;
    output.flush()?;
    Ok(Exit::Done)
}

/// Maximum number of bytes of a name, which is part of the `RuleID` and of a file's name.
const LONGEST: usize = 50;

/// Returns what is wrong with a name. Cargo must accept it, a `RuleID` must be able to contain it, and the crates of
/// the SDK must not have it.
fn wrong_name(name: &str) -> Option<String> {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(known)
        && name.split('-').all(|word| !word.is_empty());
    if !is_name {
        return Some(
            "expected lowercase letters, digits and single -, beginning with a letter, such as pod-exec".to_owned(),
        );
    }
    if name.len() > LONGEST {
        return Some(format!("it has {} characters; expected at most {LONGEST}", name.len()));
    }
    let reserved = ["portcullis-rule", "portcullis-event", "test", "core", "std"].contains(&name);
    reserved.then(|| "it is reserved; choose another name".to_owned())
}

fn filled(text: &str, name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    });
    let words: Vec<String> = words.collect();
    text.replace("{{name}}", name)
        .replace("{{snake}}", &name.replace('-', "_"))
        .replace("{{Struct}}", &format!("{}Rule", words.concat()))
        .replace("{{RuleID}}", &format!("Custom.{}", words.join(".")))
        .replace("{{Title}}", &words.join(" "))
}
