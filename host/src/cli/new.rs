//! `portcullis new`: a rule's crate to start from.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};

use super::failure::{Exit, Failure, OrExit};
use super::output::Output;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The crate's name and the folder's that is made: small letters, digits and -, such as pod-exec
    #[arg(value_name = "NAME")]
    name: String,
}

/// The crate, with a rule that works; `{{…}}` stands for what follows from the name.
const TEMPLATE: &[(&str, &str)] = &[
    (".gitignore", "/target\n"),
    ("Cargo.toml", include_str!("template/Cargo.toml.in")),
    ("README.md", include_str!("template/README.md.in")),
    ("rule.yml", include_str!("template/rule.yml.in")),
    ("sdk/event/Cargo.toml", include_str!("template/event.toml.in")),
    ("sdk/rule/Cargo.toml", include_str!("template/rule.toml.in")),
    ("src/lib.rs", include_str!("template/lib.rs.in")),
];

/// The sources of the SDK and its contract with hosts, by their paths in the crate.
const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let name = &args.name;
    if !is_name(name) {
        let error = anyhow!("{name:?} is no name for a crate: expected small letters, digits and -, such as pod-exec");
        return Err(Failure::new(Exit::Usage, error));
    }
    let folder = PathBuf::from(name);
    if folder.exists() {
        return Err(Failure::new(Exit::Io, anyhow!("{name}: is there already; choose another name")));
    }
    for (path, text) in TEMPLATE.iter().chain(SDK) {
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

/// As cargo takes it, and as it can stand in a `RuleID`; at most 50 characters. Not the names of the SDK's crates.
fn is_name(name: &str) -> bool {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 50
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(known)
        && name.split('-').all(|word| !word.is_empty())
        && !["portcullis-rule", "portcullis-event", "test", "core", "std"].contains(&name)
}

fn filled(text: &str, name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    });
    let words: Vec<String> = words.collect();
    text.replace("{{name}}", name)
        .replace("{{snake}}", &name.replace('-', "_"))
        .replace("{{Struct}}", &words.concat())
        .replace("{{RuleID}}", &format!("Custom.{}", words.join(".")))
        .replace("{{Title}}", &words.join(" "))
}
