//! Compares Portcullis with what one would pick instead: the same two rules, in each engine's own language, over the same
//! records. Every verdict of every engine is compared; what is measured is the time.
//!
//! ```sh
//! cargo run --release --manifest-path peers/Cargo.toml
//! ```

mod chart;
mod engines;
mod measure;
#[rustfmt::skip] // It is not this workspace's to format.
#[path = "../../host/benches/support/records.rs"]
mod records;
mod report;
mod verdicts;
mod versions;
mod work;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use work::Work;

/// Compares Portcullis with other engines, and writes the table and the chart.
#[derive(Parser)]
struct Options {
    /// How many records
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(1000..))]
    records: u32,
    /// What the records are made up from: the same number makes the same records
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the chart goes [default: comparison.svg beside the table]
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Err(error) = compare(Options::parse()) else { return ExitCode::SUCCESS };
    // Without the backtrace that an error from `main` would carry: the message says what to do.
    eprintln!("{error:#}");
    ExitCode::FAILURE
}

fn compare(options: Options) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = folder.join("comparison.md");
    let chart = options.chart.unwrap_or_else(|| folder.join("comparison.svg"));

    let mut contestants = engines::native()?;
    let corpus = Work::of_corpus(&folder.join("../fixtures/parity/events.ndjson"))?;
    measure::agree(&mut contestants, &corpus)?;
    println!("All but Panther's engine say the same of the {} events in fixtures/parity.", corpus.len());

    contestants.extend(engines::panther()?);
    let work = Work::made_up(options.seed, options.records as usize)?;
    let results = measure::contest(&mut contestants, &work)?;
    let [nodeport, system_principal] = results.alerts;
    println!(
        "All say the same of {} made-up records: {nodeport} alerts of the NodePort rule, {system_principal} \
         of the system principal rule.\n",
        work.len()
    );
    ensure!(
        nodeport > 0 && system_principal > 0,
        "the records make no alert of one of the rules, which compares too little: ask for more with --records"
    );
    let text = report::markdown(&results);
    println!("{text}");
    let write =
        |file: &Path, text: &str| fs::write(file, text).with_context(|| format!("cannot write {}", file.display()));
    write(&table, &text)?;
    write(&chart, &chart::svg(&results))
}
