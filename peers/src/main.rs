//! Compares Portcullis with other engines that can run the same two rules, each in the engine's own language, over the
//! same records. It compares every verdict of every engine, and measures the time.
//!
//! ```sh
//! cargo run --release --manifest-path peers/Cargo.toml
//! ```

mod chart;
mod engines;
mod measure;
#[rustfmt::skip] // The file belongs to another workspace, which formats it.
#[path = "../../host/cli/benches/support/records.rs"]
mod records;
mod report;
mod verdicts;
mod versions;
mod workload;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use workload::Workload;

/// Compares Portcullis with other engines, and writes the table and the chart.
#[derive(Parser)]
struct Options {
    /// Number of records
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(1000..))]
    records: u32,
    /// Seed of the generated records: the same seed gives the same records
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// File to write the chart to [default: comparison.svg next to the table]
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Err(error) = compare(Options::parse()) else { return ExitCode::SUCCESS };
    // Printed here because an error returned from `main` would carry a backtrace; the message says what to do.
    eprintln!("{error:#}");
    ExitCode::FAILURE
}

fn compare(options: Options) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = folder.join("comparison.md");
    let chart = options.chart.unwrap_or_else(|| folder.join("comparison.svg"));

    let mut entries = engines::native()?;
    let corpus = Workload::from_corpus(&folder.join("../fixtures/parity/events.ndjson"))?;
    measure::check_agreement(&mut entries, &corpus)?;
    println!("All engines except Panther's agree on the {} events in fixtures/parity.", corpus.len());

    entries.extend(engines::panther()?);
    let workload = Workload::generated(options.seed, options.records as usize)?;
    let results = measure::measure(&mut entries, &workload)?;
    let [nodeport, system_principal] = results.alerts;
    println!(
        "All engines agree on {} generated records: {nodeport} alerts of the NodePort rule, {system_principal} of the \
         system principal rule.\n",
        workload.len()
    );
    ensure!(
        nodeport > 0 && system_principal > 0,
        "the records raise no alert of one of the rules, so its alerts are not compared: increase --records"
    );
    let text = report::markdown(&results);
    println!("{text}");
    let write =
        |file: &Path, text: &str| fs::write(file, text).with_context(|| format!("cannot write {}", file.display()));
    write(&table, &text)?;
    write(&chart, &chart::svg(&results))
}
