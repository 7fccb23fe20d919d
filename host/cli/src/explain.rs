//! `portcullis explain`: one record, step by step.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use portcullis::alert::printable;
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

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file with the record; - is standard input, and so is no file
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Which record of the file, where it holds several; counted from 0, as in the ledger
    #[arg(long, value_name = "N")]
    record: Option<u64>,
    #[command(flatten)]
    setup: SetupArgs,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let setup = args.setup.load(&Start::Explain)?;
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
    output.write(&text)?;
    output.flush()?;
    Ok(Exit::Done)
}

/// What is said of the record of an input with this number; without a number, of the only one that there is.
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
        (_, None) if count == 0 => anyhow!("{name}: there is no record"),
        (_, None) => anyhow!("{name}: there are {count} records; choose one with --record 0 to {}", count - 1),
        (None, Some(n)) => anyhow!("{name}: there is no record {n}: it has {count}, counted from 0"),
    };
    Err(Failure::new(Exit::Usage, wrong))
}

fn explain(text: &mut String, event: &Event<'_>, record: &[u8], setup: &Setup, input: &str) -> anyhow::Result<()> {
    writeln!(text, "evaluated as {}", event.log_type.as_str())?;
    if !event.malformed.is_empty() {
        let paths: Vec<&str> = event.malformed.iter().map(|path| &**path).collect();
        writeln!(text, "malformed, and so absent: {}", paths.join(", "))?;
    }
    writeln!(text, "\nevent\n{}", indented(&pretty(&setup.enrichment.enrich(event))))?;
    if !event.source_ips.is_empty() {
        writeln!(text, "source addresses\n{}", indented(&addresses(event, &setup.enrichment)))?;
    }
    let mut tenants = setup.tenants();
    let tenant = match tenants.owner(record, input) {
        Ok(tenant) => tenant,
        Err(unclaimed) => {
            writeln!(text, "rejected: it {unclaimed}")?;
            return Ok(());
        }
    };
    if tenants.unclaimed().is_some() {
        writeln!(text, "tenant {}\n", tenants.all()[tenant].0.tenant())?;
    }
    let judge = tenants.judge(tenant);
    let verdicts = judge.event(event);
    for package in judge.rules().packages() {
        let verdict = verdicts.all().find(|(said_by, _)| *said_by == package).map(|(_, verdict)| verdict);
        writeln!(text, "{} {}\n    {}", package.rule_id(), package.version(), reason(package, event, verdict))?;
    }
    Ok(())
}

/// For each source address what is known of its network, and who says so.
fn addresses(event: &Event<'_>, enrichment: &Enrichment) -> String {
    event.source_ips.iter().map(|text| format!("{text}: {}\n", network(text, event, enrichment))).collect()
}

fn network(text: &str, event: &Event<'_>, enrichment: &Enrichment) -> String {
    let Some(address) = address::parse(text) else { return "no address".to_owned() };
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
        None => format!("unknown: in none of {enrichment}"),
    }
}

/// What the record's own entries say: the one that names the address, else all that name none.
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

/// What a rule said, or why it was not asked.
fn reason(package: &Package, event: &Event<'_>, verdict: Option<&Verdict>) -> String {
    match verdict {
        None => "not asked: it does not subscribe to the log type".to_owned(),
        Some(Verdict::Alert(alert)) => indented(&alert.to_string()).trim().to_owned(),
        Some(Verdict::Excluded { alert, reason }) => {
            format!("excluded: {reason}\n{}", indented(&alert.to_string()).trim_end())
        }
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
