//! `portcullis rules --server`: lists what each replica of a service runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use portcullis::alert::printable;
use serde_json::{Value, json};

use crate::failure::{Exit, Failure, OrExit};
use crate::output::{Output, ReportFormat};

#[derive(clap::Args)]
pub(crate) struct ServerArgs {
    /// List what each replica of this service runs
    #[arg(long, value_name = "URL", requires = "token_file", conflicts_with_all = ["paths", "config", "cache", "history"])]
    pub(super) server: Option<String>,
    /// File with the token of a client that has the role view
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// File with the certificates to trust, in PEM [default: the system's]
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,
}

pub(crate) fn run(server: &str, args: &ServerArgs, format: ReportFormat) -> Result<Exit, Failure> {
    let token_file = args.token_file.as_deref().expect("clap requires it");
    let replicas = portcullis_serve::rules_of_replicas(server, token_file, args.ca.as_deref()).or_exit(Exit::Io)?;
    let mut output = Output::standard();
    match format {
        ReportFormat::Json => {
            for (replica, rule) in rules(&replicas) {
                let mut line = rule.clone();
                line["replica"] = json!(replica);
                output.write_line(&line.to_string())?;
            }
        }
        ReportFormat::Text => output.write(&text(&replicas))?,
    }
    output.flush()?;
    Ok(Exit::Done)
}

/// Returns the rules of all replicas, each with the name of its replica.
fn rules(replicas: &[Value]) -> impl Iterator<Item = (&str, &Value)> {
    replicas.iter().flat_map(|report| {
        let replica = report["replica"].as_str().unwrap_or_default();
        report["rules"].as_array().into_iter().flatten().map(move |rule| (replica, rule))
    })
}

/// Returns each rule with its versions, their states, and the replicas in each state.
fn text(replicas: &[Value]) -> String {
    let mut states: BTreeMap<[String; 2], BTreeMap<[String; 3], Vec<&str>>> = BTreeMap::new();
    for (replica, rule) in rules(replicas) {
        let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        let of_rule = states.entry(["tenant", "rule_id"].map(text)).or_default();
        of_rule.entry(["version", "state", "reason"].map(text)).or_default().push(replica);
    }
    let mut text = String::new();
    for ([tenant, rule_id], versions) in &states {
        text.push_str(&format!("{} of {}\n", printable(rule_id), printable(tenant)));
        for ([version, state, reason], on) in versions.iter().rev() {
            let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            let on = format!("on {} of {}: {}", on.len(), replicas.len(), on.join(", "));
            text.push_str(&format!("    {version:<10} {}\n", printable(&format!("{state} {on}{reason}"))));
        }
    }
    if text.is_empty() { "no package\n".to_owned() } else { text }
}
