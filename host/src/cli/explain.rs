//! `portcullis explain`: one record, step by step.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use portcullis::vectors::pretty;
use portcullis::{Engine, Judge, Limits, MAX_RECORD, Package, RuleSet, Verdict, printable};
use portcullis_event::{Event, Outcome, normalize};
use serde::de::IgnoredAny;

use super::failure::{Exit, Failure, OrExit};
use super::input::Input;
use super::load_packages;
use super::output::Output;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file with the record; - is standard input, and so is no file
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Which line of the file, where it holds several; counted from 0, as in the ledger
    #[arg(long, value_name = "N")]
    record: Option<usize>,
    /// Packages, or folders of them [default: the embedded rules]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    rules: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let engine = Engine::new().or_exit(Exit::Rules)?;
    let rules = Arc::new(RuleSet::new(load_packages(&engine, &args.rules)?).or_exit(Exit::Rules)?);
    let bytes = read(args)?;
    let record = choose(&bytes, args.record).or_exit(Exit::Usage)?;

    let mut text = String::new();
    let mut buffer = String::new();
    match normalize(record, &mut buffer) {
        Outcome::Evaluated(event) => explain(&mut text, &event, record, &rules).or_exit(Exit::Io)?,
        Outcome::Ignored(ignored) => text = format!("ignored: {ignored}\n"),
        Outcome::Rejected(rejected) => text = format!("rejected: {rejected}\n"),
    }
    let mut output = Output::standard();
    output.write(&text)?;
    output.flush()?;
    Ok(Exit::Done)
}

fn read(args: &Args) -> Result<Vec<u8>, Failure> {
    let paths: Vec<PathBuf> = args.file.iter().cloned().collect();
    let mut bytes = Vec::new();
    for input in Input::all(&paths)? {
        let read = input.open()?.take(MAX_RECORD as u64 + 1).read_to_end(&mut bytes);
        read.with_context(|| format!("{}: cannot be read", input.name())).or_exit(Exit::Io)?;
        if bytes.len() > MAX_RECORD {
            let too_long = anyhow!("{}: is longer than {MAX_RECORD} bytes; give one record", input.name());
            return Err(Failure::new(Exit::Io, too_long));
        }
    }
    Ok(bytes)
}

/// The record that is meant: the line that was asked for, or all there is if that is one.
fn choose(bytes: &[u8], wanted: Option<usize>) -> anyhow::Result<&[u8]> {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    if text.trim_ascii().is_empty() {
        bail!("there is no record in the input; give one JSON object");
    }
    match wanted {
        Some(n) => {
            lines.get(n).copied().with_context(|| format!("there is no record {n}: the last is {}", lines.len() - 1))
        }
        None if lines.len() == 1 || serde_json::from_slice::<IgnoredAny>(text).is_ok() => Ok(text),
        None => bail!("there are {} lines; choose one with --record 0 to {}", lines.len(), lines.len() - 1),
    }
}

fn explain(text: &mut String, event: &Event<'_>, record: &[u8], rules: &Arc<RuleSet>) -> anyhow::Result<()> {
    writeln!(text, "evaluated as {}", event.log_type.as_str())?;
    if !event.malformed.is_empty() {
        let paths: Vec<&str> = event.malformed.iter().map(|path| &**path).collect();
        writeln!(text, "malformed, and so absent: {}", paths.join(", "))?;
    }
    writeln!(text, "\nevent\n{}", indented(&pretty(event)))?;
    let verdicts = Judge::new(Arc::clone(rules), Limits::default()).event(event, record);
    for (rule, package) in rules.packages().iter().enumerate() {
        let verdict = verdicts.iter().find(|verdict| verdict.rule == rule).map(|verdict| &verdict.verdict);
        writeln!(text, "{} {}\n    {}", package.rule_id(), package.version(), reason(package, event, verdict))?;
    }
    Ok(())
}

/// What a rule said, or why it was not asked.
fn reason(package: &Package, event: &Event<'_>, verdict: Option<&Verdict>) -> String {
    match verdict {
        None => "not asked: it does not subscribe to the log type".to_owned(),
        Some(Verdict::Alert(alert)) => indented(&alert.to_string()).trim().to_owned(),
        Some(Verdict::NoMatch) => "asked: no match".to_owned(),
        Some(Verdict::Fault(fault)) => format!("failed: it {}", printable(&fault.to_string())),
        Some(Verdict::Skipped) => {
            let Some((field, patterns)) = package.prefilter().first_miss(event) else {
                return "not asked".to_owned();
            };
            let wanted: Vec<String> = patterns.iter().map(ToString::to_string).collect();
            let found =
                field.of(event).map_or_else(|| "is absent".to_owned(), |value| format!("is {}", printable(value)));
            format!("not asked: its prefilter wants {} to be {}, and it {found}", field.name(), wanted.join(" or "))
        }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
