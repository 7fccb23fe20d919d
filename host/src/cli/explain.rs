//! `portcullis explain`: one record, step by step.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use portcullis::package::Pattern;
use portcullis::vectors::pretty;
use portcullis::{BYTE_ORDER_MARK, Engine, Judge, Limits, Lines, MAX_RECORD, Package, RuleSet, Verdict, printable};
use portcullis_event::{Event, Outcome, normalize};
use serde::de::IgnoredAny;

use super::active_rules;
use super::failure::{Exit, Failure, OrExit};
use super::input::Input;
use super::output::Output;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file with the record; - is standard input, and so is no file
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Which line of the file, where it holds several; counted from 0
    #[arg(long, value_name = "N")]
    record: Option<u64>,
    /// A package, or a folder of them; may be given several times [default: the embedded rules]
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let engine = Engine::new().or_exit(Exit::Rules)?;
    let rules = active_rules(&engine, &args.rules)?;
    let paths: Vec<PathBuf> = args.file.iter().cloned().collect();
    let inputs = Input::all(&paths)?;
    let input = &inputs[0];
    let record = match args.record {
        Some(n) => line(input, n)?,
        None => whole(input)?,
    };

    let mut text = String::new();
    let mut buffer = String::new();
    match normalize(&record, &mut buffer) {
        Outcome::Evaluated(event) => explain(&mut text, &event, &record, &rules).or_exit(Exit::Io)?,
        Outcome::Ignored(ignored) => text = format!("ignored: {ignored}\n"),
        Outcome::Rejected(rejected) => text = format!("rejected: {rejected}\n"),
    }
    let mut output = Output::standard();
    output.write(&text)?;
    output.flush()?;
    Ok(Exit::Done)
}

/// The line of an input with this number.
fn line(input: &Input, n: u64) -> Result<Vec<u8>, Failure> {
    let mut lines = Lines::new(input.open()?, MAX_RECORD);
    let mut read = 0;
    while let Some(line) =
        lines.next_line().with_context(|| format!("{}: cannot be read", input.name())).or_exit(Exit::Io)?
    {
        if read == n {
            return Ok(line.bytes.to_vec());
        }
        read += 1;
    }
    let error = anyhow!("{}: there is no record {n}: it has {read}, counted from 0", input.name());
    Err(Failure::new(Exit::Usage, error))
}

/// All of an input, which must be one record.
fn whole(input: &Input) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = input.open()?.take(MAX_RECORD as u64 + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("{}: cannot be read", input.name())).or_exit(Exit::Io)?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let lines = text.split(|byte| *byte == b'\n').count();
    let wrong = if text.trim_ascii().is_empty() {
        anyhow!("{}: there is no record; give one JSON object", input.name())
    } else if bytes.len() > MAX_RECORD {
        anyhow!("{}: is longer than one record may be; choose a line with --record N, from 0", input.name())
    } else if lines > 1 && serde_json::from_slice::<IgnoredAny>(text).is_err() {
        anyhow!("{}: there are {lines} lines; choose one with --record 0 to {}", input.name(), lines - 1)
    } else {
        return Ok(bytes);
    };
    Err(Failure::new(Exit::Usage, wrong))
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
        Some(Verdict::Fault(fault)) => format!("failed: it {fault}"),
        Some(Verdict::Skipped) => {
            let Some((field, patterns)) = package.prefilter().first_miss(event) else {
                return "not asked".to_owned();
            };
            let found =
                field.of(event).map_or_else(|| "is absent".to_owned(), |value| format!("is {}", printable(value)));
            format!(
                "not asked: its prefilter wants {} to be {}, and it {found}",
                field.name(),
                Pattern::any_of(patterns)
            )
        }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {}\n", printable(line))).collect()
}
