//! `portcullis rules`: lists the versions of each rule and their states.

#[cfg(feature = "serve")]
mod fleet;

use std::path::PathBuf;

use portcullis::activation::ListedPackage;
use portcullis::alert::printable;
use serde_json::{Value, json};

use crate::activation::Start;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::output::ReportFormat;
use crate::setup::{RuleArgs, Setup};

const EXAMPLES: &str = "\
Examples:
  # List the rules in a folder, and which versions a run would use
  portcullis rules --rules rules/

  # List which versions are active in a run that writes this history
  portcullis rules --rules rules/ --history history.ndjson

  # List what each replica of a service runs
  portcullis rules --server https://portcullis.example --token-file token";

#[derive(clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    rules: RuleArgs,
    /// History file of a run, which decides what is active. Without it, the list shows what a run would use
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    #[cfg(feature = "serve")]
    #[command(flatten)]
    server: fleet::ServerArgs,
    /// Format of the list
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    format: ReportFormat,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    #[cfg(feature = "serve")]
    if let Some(server) = &args.server.server {
        return fleet::run(server, &args.server, args.format);
    }
    let start = Start::List { history: args.history.as_deref() };
    let setup = Setup::load(&args.rules.clone().into(), &start)?;
    let mut output = Output::standard();
    for (tenant, listed) in setup.listed() {
        match args.format {
            ReportFormat::Json => {
                for listed in &listed {
                    let mut line = json!(listed);
                    line["tenant"] = Value::from(tenant);
                    output.write_line(&line.to_string())?;
                }
            }
            ReportFormat::Text => {
                if setup.has_several() {
                    output.write_line(&format!("tenant {tenant}"))?;
                }
                output.write(&text(&listed))?;
            }
        }
    }
    output.flush()?;
    Ok(Exit::Done)
}

/// Returns each rule with one line for each of its versions.
fn text(listed: &[ListedPackage]) -> String {
    let mut text = String::new();
    let mut rule = None;
    for ListedPackage { rule_id, version, state, since, reason, file, .. } in listed {
        let heading = rule_id.as_deref().unwrap_or("no package");
        if rule.replace(heading) != Some(heading) {
            text.push_str(&format!("{}\n", printable(heading)));
        }
        let version = version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let since = since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
        let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let file = file.as_ref().map(|file| format!("  ({file})")).unwrap_or_default();
        text.push_str(&format!(
            "    {version:<10} {}\n",
            printable(&format!("{}{since}{reason}{file}", state.as_str()))
        ));
    }
    if listed.is_empty() { "no package\n".to_owned() } else { text }
}
