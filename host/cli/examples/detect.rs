//! Does what the command `run` does, in a program of your own: reads records and writes alerts, and everything else to
//! standard error.
//!
//! ```sh
//! cargo run --release --example detect -- fixtures/samples/eks.ndjson
//! cargo run --release --example detect -- fixtures/samples/aks.ndjson acme:p_source_label=acme-* globex:category=kube-audit
//! ```
//!
//! A claim is a tenant's name, a field of the record and its value. With claims, each record is judged for the tenant
//! that claims it.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};
use std::sync::Arc;
use std::time::Instant;

use portcullis::package::Pattern;
use portcullis::pipeline::{Claim, FieldPath, Judged};
use portcullis::read::{Documents, Records, decompressed};
use portcullis::{Accounting, Engine, Judge, Judgement, Limits, RuleSet, Tenants, Verdict, embedded};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or_else(|| "-".to_owned());
    let mut tenants = tenants(arguments)?;

    let input: Box<dyn Read + Send> = if file == "-" { Box::new(io::stdin()) } else { Box::new(File::open(&file)?) };
    let mut output = BufWriter::new(io::stdout().lock());
    let mut documents = Documents::new(decompressed(input)?);
    let mut records = Records::default();
    let began = Instant::now();
    while let Some(document) = documents.next_document()? {
        records.for_each(&document, &mut |record, outcome| {
            let Judged { judgement, .. } = tenants.outcome(outcome, record.bytes, &file);
            match judgement {
                Judgement::Evaluated { verdicts, .. } => {
                    for (package, verdict) in verdicts.all() {
                        match verdict {
                            Verdict::Alert(alert) => writeln!(output, "{}", serde_json::to_string(alert)?)?,
                            Verdict::Fault(fault) => {
                                let (rule, version) = (package.rule_id(), package.version());
                                eprintln!("{file}:{}: {rule} {version} failed: it {fault}", record.place);
                            }
                            Verdict::NoMatch | Verdict::Skipped | Verdict::Excluded { .. } => {}
                        }
                    }
                }
                Judgement::Ignored(_) => {}
                Judgement::Rejected(rejected) => eprintln!("{file}:{}: {rejected}", record.place),
                Judgement::Unclaimed(unclaimed) => eprintln!("{file}:{}: {unclaimed}", record.place),
            }
            Ok::<(), io::Error>(())
        })?;
    }
    output.flush()?;
    let seconds = began.elapsed().as_secs_f64();

    let owned = tenants.all().iter().map(|(judge, account)| (judge.tenant(), account));
    for (whose, account) in owned.chain(tenants.unclaimed().map(|account| ("nobody", account))) {
        let Accounting { evaluated, ignored, rejected, .. } = account;
        eprintln!("{whose}: {evaluated} evaluated, {ignored} ignored, {rejected} rejected");
    }
    let accounts = tenants.all().iter().map(|(_, account)| account).chain(tenants.unclaimed());
    let read = Accounting::total(accounts).read();
    eprintln!("{:.0} records/s", f64::from(u32::try_from(read)?) / seconds);
    Ok(())
}

/// Returns the judges of all tenants, or of one tenant for all records if there are no claims. Each tenant has its own
/// judge, so that no tenant can use up another's limits.
fn tenants(claims: impl Iterator<Item = String>) -> Result<Tenants, Box<dyn Error>> {
    let engine = Engine::new()?;
    let rules = Arc::new(RuleSet::new(embedded::packages(&engine)?)?);
    let mut tenants: Vec<(Judge, Vec<Claim>)> = Vec::new();
    for text in claims {
        let (name, field, value) = text
            .split_once(':')
            .and_then(|(name, rest)| rest.split_once('=').map(|(field, value)| (name, field, value)))
            .ok_or_else(|| format!("{text}: a claim is TENANT:FIELD=VALUE"))?;
        let path = FieldPath::new(field).ok_or_else(|| format!("{text}: {field:?} is no path of names"))?;
        let claim = Claim { inputs: Vec::new(), fields: vec![(path, vec![Pattern::new(value)])] };
        if let Some((_, claims)) = tenants.iter_mut().find(|(judge, _)| judge.tenant() == name) {
            claims.push(claim);
        } else {
            let judge = Judge::builder(Limits::default()).rules(Arc::clone(&rules)).tenant(name.into()).build();
            tenants.push((judge, vec![claim]));
        }
    }
    if tenants.is_empty() {
        return Ok(Tenants::one(Judge::new(rules, Limits::default())));
    }
    Ok(Tenants::new(tenants))
}
