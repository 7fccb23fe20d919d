//! `portcullis rules`: what there is of each rule, what is active, and why a version is not.

#[cfg(feature = "serve")]
mod fleet;

use std::path::PathBuf;

use portcullis::activation::Listed;
use portcullis::alert::printable;
use serde_json::{Value, json};

use crate::activation::Start;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::output::ReportFormat;
use crate::setup::SetupArgs;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    setup: SetupArgs,
    #[cfg(feature = "serve")]
    #[command(flatten)]
    server: fleet::ServerArgs,
    /// The history that a run writes: what it says is active is; without it, what a run would take
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// How the list is written; json is one object a line
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    format: ReportFormat,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    #[cfg(feature = "serve")]
    if let Some(server) = &args.server.server {
        return fleet::run(server, &args.server, args.format);
    }
    let setup = args.setup.load(&Start::Look { history: args.history.as_deref() })?;
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

/// Each rule with its versions, a line each.
fn text(listed: &[Listed]) -> String {
    let mut text = String::new();
    let mut rule = None;
    for Listed { rule_id, version, state, since, reason, file, .. } in listed {
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
