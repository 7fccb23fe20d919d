//! What each replica of a service runs.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, bail};
use portcullis::printable;
use serde_json::{Value, json};

use super::ServerArgs;
use crate::cli::ReportFormat;
use crate::cli::failure::{Exit, Failure, OrExit};
use crate::cli::output::Output;
use crate::cli::web;

pub(super) fn run(server: &str, args: &ServerArgs, format: ReportFormat) -> Result<Exit, Failure> {
    let replicas = ask(server, args).or_exit(Exit::Io)?;
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

fn ask(server: &str, args: &ServerArgs) -> anyhow::Result<Vec<Value>> {
    let file = args.token_file.as_deref().expect("it is required");
    let token = web::read_line(file)?;
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("{}: holds no token: expected visible ASCII characters without spaces", file.display());
    }
    let url = format!("{}/v1/rules", server.trim_end_matches('/'));
    let agent = web::agent(args.ca.as_deref())?;
    let request = agent.get(&url).header("Authorization", format!("Bearer {token}"));
    let mut answer = request.call().with_context(|| url.clone())?;
    let status = answer.status();
    let text = answer.body_mut().read_to_string().with_context(|| url.clone())?;
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    if !status.is_success() {
        return Err(anyhow!("{url} answers {status}: {}", body["error"].as_str().unwrap_or(text.trim())));
    }
    let replicas = body["replicas"].as_array().cloned();
    replicas.with_context(|| format!("{url}: answers something else than a service of ours: {text}"))
}

/// Each rule of each replica, with the replica.
fn rules(replicas: &[Value]) -> impl Iterator<Item = (&str, &Value)> {
    replicas.iter().flat_map(|report| {
        let replica = report["replica"].as_str().unwrap_or_default();
        report["rules"].as_array().into_iter().flatten().map(move |rule| (replica, rule))
    })
}

/// Each rule with its versions, and on which replicas each stands how.
fn text(replicas: &[Value]) -> String {
    let mut standings: BTreeMap<[String; 2], BTreeMap<[String; 3], Vec<&str>>> = BTreeMap::new();
    for (replica, rule) in rules(replicas) {
        let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        let of_rule = standings.entry(["tenant", "rule_id"].map(text)).or_default();
        of_rule.entry(["version", "standing", "reason"].map(text)).or_default().push(replica);
    }
    let mut text = String::new();
    for ([tenant, rule_id], versions) in &standings {
        text.push_str(&format!("{} of {}\n", printable(rule_id), printable(tenant)));
        for ([version, standing, reason], on) in versions.iter().rev() {
            let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            let on = format!("on {} of {}: {}", on.len(), replicas.len(), on.join(", "));
            text.push_str(&format!("    {version:<10} {}\n", printable(&format!("{standing} {on}{reason}"))));
        }
    }
    if text.is_empty() { "no package\n".to_owned() } else { text }
}
