//! `portcullis new`: a rule's crate to start from.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use portcullis::embedded;

use crate::failure::{Exit, Failure, OrExit};
use crate::output::Output;

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
    ("rustfmt.toml", include_str!("../../../rustfmt.toml")),
    ("rule.yml", include_str!("template/rule.yml.in")),
    ("sdk/event/Cargo.toml", include_str!("template/event.toml.in")),
    ("sdk/rule/Cargo.toml", include_str!("template/rule.toml.in")),
    ("src/lib.rs", include_str!("template/lib.rs.in")),
];

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let name = &args.name;
    if let Some(wrong) = wrong_name(name) {
        return Err(Failure::new(Exit::Usage, anyhow!("{name:?} is no name for a crate: {wrong}, such as pod-exec")));
    }
    let folder = PathBuf::from(name);
    if folder.symlink_metadata().is_ok() {
        return Err(Failure::new(Exit::Io, anyhow!("{name}: is there already; choose another name")));
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

/// The longest name in bytes: the `RuleID` and the file's name are made of it.
const LONGEST: usize = 50;

/// What keeps a name from being one that cargo takes, that can stand in a `RuleID`, and that is none of the SDK's.
fn wrong_name(name: &str) -> Option<String> {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(known)
        && name.split('-').all(|word| !word.is_empty());
    if !is_name {
        return Some("expected small letters, digits and -, a letter first".to_owned());
    }
    if name.len() > LONGEST {
        return Some(format!("it has {} characters, and may have {LONGEST}", name.len()));
    }
    let reserved = ["portcullis-rule", "portcullis-event", "test", "core", "std"].contains(&name);
    reserved.then(|| "it is taken already; choose another".to_owned())
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
