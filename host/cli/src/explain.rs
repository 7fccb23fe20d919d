//! `portcullis explain`: shows step by step how one record is judged.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use portcullis::alert::{Text, TextStyle, printable};
use portcullis::enrich::Enrichment;
use portcullis::event::{Asn, Event, Outcome, address};
use portcullis::package::Pattern;
use portcullis::read::{Documents, Record, Records};
use portcullis::test_cases::pretty;
use portcullis::{Package, Verdict};

use crate::activation::Start;
use crate::failure::{Exit, Failure, OrExit};
use crate::input::Input;
use crate::output::Output;
use crate::setup::{Setup, SetupArgs};
use crate::stop::Stop;

const EXAMPLES: &str = "\
Examples:
  # Explain the fourth record of a log file
  portcullis explain audit.log --record 3

  # Explain a rejected record, with the rules in a folder
  jq -r .record rejects.ndjson | head -n 1 | portcullis explain --rules rules/";

#[derive(clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// File with the record. Without a file, or with -, standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Number of the record, from 0 as in the ledger. Needed if the file has several records
    #[arg(long, value_name = "N")]
    record: Option<u64>,
    #[command(flatten)]
    setup: SetupArgs,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let setup = Setup::load(&args.setup, &Start::Explain)?;
    let paths: Vec<PathBuf> = args.file.iter().cloned().collect();
    let inputs = Input::all(&paths)?;
    let input = &inputs[0];
    let text = explained(input, args.record, |record, outcome| {
        let mut text = String::new();
        match outcome {
            Outcome::Evaluated(event) => explain(&mut text, &event, record.bytes, &setup, &input.name())?,
            Outcome::Ignored(ignored) => writeln!(text, "ignored: {ignored}")?,
            Outcome::Rejected(rejected) => writeln!(text, "rejected: {rejected}")?,
        }
        Ok(text)
    })?;
    let mut output = Output::standard();
    // Records and rules' functions are named by strangers.
    for line in text.lines() {
        output.write_line(&printable(line))?;
    }
    output.flush()?;
    Ok(Exit::Done)
}

/// Returns the explanation of the record with this number. Without a number, the input must have exactly one record.
fn explained(
    input: &Input,
    wanted: Option<u64>,
    explain: impl Fn(&Record<'_>, Outcome<'_>) -> anyhow::Result<String>,
) -> Result<String, Failure> {
    let name = input.name();
    let never = Arc::new(Stop::new().or_exit(Exit::Io)?);
    let mut documents = Documents::new(input.open(&never, |file| Box::new(file))?);
    let mut records = Records::default();
    let mut found = None;
    let mut count = 0;
    while found.is_none() || wanted.is_none() {
        let document = documents.next_document().with_context(|| format!("{name}: cannot be read"));
        let Some(document) = document.or_exit(Exit::Io)? else { break };
        records.for_each(&document, &mut |record, outcome| {
            if count == wanted.unwrap_or(0) {
                found = Some(explain(record, outcome).or_exit(Exit::Io)?);
            }
            count += 1;
            Ok::<(), Failure>(())
        })?;
    }
    let wrong = match (found, wanted) {
        (Some(found), Some(_)) => return Ok(found),
        (Some(found), None) if count == 1 => return Ok(found),
        (_, None) if count == 0 => anyhow!("{name}: contains no record"),
        (_, None) => anyhow!("{name}: contains {count} records; select one with --record 0 to {}", count - 1),
        (None, Some(n)) => anyhow!("{name}: contains no record {n}; it has {count}, counted from 0"),
    };
    Err(Failure::new(Exit::Usage, wrong))
}

/// Writes what happened, what each rule says about it, and then what that is based on.
fn explain(text: &mut String, event: &Event<'_>, record: &[u8], setup: &Setup, input: &str) -> anyhow::Result<()> {
    // A user or an object may have line breaks in its name.
    writeln!(text, "{}", printable(&request(event)))?;
    writeln!(text, "evaluated as {}", event.log_type.as_str())?;
    if !event.malformed.is_empty() {
        let paths: Vec<&str> = event.malformed.iter().map(|path| &**path).collect();
        writeln!(text, "malformed, treated as absent: {}", paths.join(", "))?;
    }
    writeln!(text)?;
    answers(text, event, record, setup, input)?;
    if !event.source_ips.is_empty() {
        writeln!(text, "source addresses\n{}", indented(&addresses(event, &setup.enrichment)))?;
    }
    writeln!(text, "event, as the rules see it\n{}", indented(&pretty(&setup.enrichment.enrich(event))))?;
    Ok(())
}

/// Returns who asked for what, from where, when, and how it was answered, as far as the event says so.
fn request(event: &Event<'_>) -> String {
    let mut text = event.username.as_deref().unwrap_or("somebody").to_owned();
    if !event.source_ips.is_empty() {
        text.push_str(&format!(" from {}", event.source_ips.iter().map(|ip| &**ip).collect::<Vec<_>>().join(", ")));
    }
    let object = match (event.namespace.as_deref(), event.name.as_deref()) {
        (Some(namespace), Some(name)) => Some(format!("{namespace}/{name}")),
        (Some(namespace), None) => Some(format!("in namespace {namespace}")),
        (None, name) => name.map(str::to_owned),
    };
    let resource = event.resource.as_deref().map(|resource| match event.subresource.as_deref() {
        Some(subresource) => format!("{resource}/{subresource}"),
        None => resource.to_owned(),
    });
    let resource = resource.as_deref().or(event.request_uri.as_deref());
    let what = [event.verb.as_deref().or(Some("an unknown verb")), resource, object.as_deref()];
    text.push_str(": ");
    text.push_str(&what.into_iter().flatten().collect::<Vec<_>>().join(" "));
    if let Some(code) = event.code() {
        text.push_str(&format!(", answered with code {code}"));
    }
    if let Some(time) = event.event_time.as_deref() {
        text.push_str(&format!(", at {time}"));
    }
    text
}

/// Writes the answer of each rule.
fn answers(text: &mut String, event: &Event<'_>, record: &[u8], setup: &Setup, input: &str) -> anyhow::Result<()> {
    let mut tenants = setup.tenants();
    let tenant = match tenants.owner(record, input) {
        Ok(tenant) => tenant,
        Err(unclaimed) => {
            writeln!(text, "rejected: the record {unclaimed}\n")?;
            return Ok(());
        }
    };
    if tenants.unclaimed().is_some() {
        writeln!(text, "tenant {}\n", tenants.all()[tenant].0.tenant())?;
    }
    let judge = tenants.judge(tenant);
    let verdicts = judge.event(event);
    for package in judge.rules().packages() {
        let verdict = verdicts.all().find(|(of, _)| *of == package).map(|(_, verdict)| verdict);
        writeln!(text, "{} {}\n    {}\n", package.rule_id(), package.version(), reason(package, event, verdict))?;
    }
    Ok(())
}

/// Returns the network of each source address, and where that is known from.
fn addresses(event: &Event<'_>, enrichment: &Enrichment) -> String {
    event.source_ips.iter().map(|text| format!("{text}: {}\n", network(text, event, enrichment))).collect()
}

fn network(text: &str, event: &Event<'_>, enrichment: &Enrichment) -> String {
    let Some(address) = address::parse(text) else { return "not an IP address".to_owned() };
    if !address::is_global(address) {
        return "not public".to_owned();
    }
    if !event.asn.is_empty() {
        return network_of_record(address, &event.asn) + ", from the record's p_enrichment";
    }
    if enrichment.is_empty() {
        return "unknown: the record has no p_enrichment, and neither --cloud-ranges nor --asn-db is given".to_owned();
    }
    match enrichment.network(address) {
        Some(network) => format!("{}, from {}", named(&network.asn, network.name.as_deref()), network.source),
        None => format!("unknown: not found in {enrichment}"),
    }
}

/// Returns the network that the record itself gives: the entry for the address, or else all entries without an address.
fn network_of_record(address: IpAddr, entries: &[Asn<'_>]) -> String {
    let names = |entry: &&Asn<'_>| entry.address.as_deref().and_then(address::parse) == Some(address);
    let network = |entry: &Asn<'_>| {
        let name = entry.name.as_deref();
        entry.asn.as_deref().map_or_else(|| "unknown".to_owned(), |asn| named(asn, name))
    };
    if let Some(own) = entries.iter().find(names) {
        return network(own);
    }
    let unnamed: Vec<String> = entries.iter().filter(|entry| entry.address.is_none()).map(network).collect();
    match &*unnamed {
        [] => "unknown".to_owned(),
        [only] => only.clone(),
        several => format!("one of {}", several.join(" and ")),
    }
}

fn named(asn: &str, name: Option<&str>) -> String {
    name.map_or_else(|| asn.to_owned(), |name| format!("{asn} {name}"))
}

/// Returns a rule's answer, or why the rule did not run.
fn reason(package: &Package, event: &Event<'_>, verdict: Option<&Verdict>) -> String {
    match verdict {
        None => "not run: its LogTypes do not include the log type".to_owned(),
        Some(Verdict::Alert(alert)) => {
            let mut text = Text::new(TextStyle::default());
            for (name, prose) in [("why", &package.spec().description), ("runbook", &*alert.about.runbook)] {
                prose.as_ref().inspect(|prose| text.prose(name, prose));
            }
            indented(&(alert.to_string() + &text.into_string())).trim().to_owned()
        }
        Some(Verdict::Excluded { alert, reason }) => {
            format!("excluded: {reason}\n{}", indented(&alert.to_string()).trim_end())
        }
        Some(Verdict::NoMatch) => "no match: it was asked, and found nothing".to_owned(),
        Some(Verdict::Fault(fault)) => format!("fault: it {fault}"),
        Some(Verdict::Skipped) => {
            let Some((field, patterns)) = package.prefilter().first_miss(event) else {
                return "skipped".to_owned();
            };
            let found = field
                .of(event)
                .map_or_else(|| "it is absent".to_owned(), |value| format!("it is {}", printable(value)));
            format!("skipped: its prefilter requires {} to be {}, and {found}", field.name(), Pattern::any_of(patterns))
        }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {}\n", printable(line))).collect()
}
