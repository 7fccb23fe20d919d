//! `portcullis run`: judges records and writes alerts.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::mpsc::{self, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use portcullis::alert::TextStyle;
use portcullis::pipeline::{AbortOnPanic, threads};
use portcullis::rule_set::RuleSetWatch;

use crate::activation::Start;
use crate::batch::{self, Batch};
use crate::failure::{Exit, Failure, OrExit, both, warn};
use crate::input::{Identity, Input, used_twice};
use crate::outputs::OutputOptions;
use crate::progress::Progress;
use crate::reorder_buffer::ReorderBuffer;
use crate::setup::{Setup, SetupArgs, number_of_threads};
use crate::signals::Interruption;
use crate::sink::Format;
use crate::stop::Stop;
use crate::worker::Worker;
use crate::writer::Writer;

const EXAMPLES: &str = "\
Examples:
  # Judge a log file, compressed or not, with the embedded rules
  portcullis run audit.log.gz

  # Judge a log as it grows, with rules that can be replaced while it runs
  tail -F audit.log | portcullis run --rules rules/ --watch --history history.ndjson

  # Keep alerts, rejected records and the verdicts on each record in files
  portcullis run audit.log --output alerts.ndjson --rejects rejects.ndjson --ledger ledger.ndjson";

#[derive(clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// Files of records, in any envelope, plain or compressed with gzip or zstd. Without a file, or with -, standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    setup: SetupArgs,
    /// Format of alerts [default: text on a terminal, else ndjson]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Group alerts into incidents by DedupPeriodMinutes and Threshold of their rules. The first alert of an incident
    /// is written at once; its count, times and SummaryAttributes follow when it is over
    #[arg(long)]
    incidents: bool,
    #[command(flatten)]
    text: TextArgs,
    /// Write alerts to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write records that are rejected, have malformed fields or make a rule fault to this file, each with the reason
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Write one line for each record to this file: its outcome, and the version and verdict of each rule
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    #[command(flatten)]
    follow: FollowArgs,
    /// Number of threads that judge records. Alerts are always in the order of the records [default: one for each core]
    #[arg(long, value_name = "N", value_parser = number_of_threads)]
    threads: Option<NonZeroUsize>,
    /// Show no progress and no summary. Warnings and errors are still shown
    #[arg(long, short)]
    quiet: bool,
}

#[derive(clap::Args)]
struct FollowArgs {
    /// Follow the rules' files and the config. A new version that passes its checks takes over between two records
    #[arg(long)]
    watch: bool,
    /// Append what happens to each version of each rule to this file, and continue from its entries
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

impl FollowArgs {
    /// Checks that there are rules that can change.
    fn check(&self, setup: &Setup) -> Result<(), Failure> {
        let option = if self.watch { "--watch" } else { "--history" };
        if (self.watch || self.history.is_some()) && setup.followed().iter().all(Option::is_none) {
            let error = anyhow!("{option}: the embedded rules never change; name packages or folders with --rules");
            return Err(Failure::new(Exit::Usage, error));
        }
        Ok(())
    }
}

/// What alerts as text contain.
#[derive(clap::Args)]
struct TextArgs {
    /// Write all fields of each alert (format text only)
    #[arg(long)]
    details: bool,
    /// Also write the rule's runbook (format text only)
    #[arg(long)]
    runbook: bool,
}

impl Args {
    fn outputs(&self) -> OutputOptions {
        OutputOptions {
            format: self.format,
            incidents: self.incidents,
            style: TextStyle { color: false, details: self.text.details, runbook: self.text.runbook },
            alerts: self.output.clone(),
            rejects: self.rejects.clone(),
            ledger: self.ledger.clone(),
            quiet: self.quiet,
        }
    }

    /// Checks that incidents are not combined with annotated lines: an incident spans many lines.
    fn check_format(outputs: &OutputOptions) -> Result<(), Failure> {
        if outputs.annotates() && outputs.incidents {
            let error = anyhow!("--incidents: cannot be combined with --format annotated, which does not group alerts");
            return Err(Failure::new(Exit::Usage, error));
        }
        Ok(())
    }

    /// Checks that no output is an input or another output, because opening an output empties it.
    fn check_outputs(&self, inputs: &[Input], setup: &Setup) -> Result<(), Failure> {
        let mut taken: Vec<Identity> = inputs.iter().filter_map(Input::identity).collect();
        taken.extend(setup.files.iter().filter_map(|file| Identity::of(file)));
        let outputs = [&self.output, &self.rejects, &self.ledger, &self.follow.history];
        let Some(output) = used_twice(taken, outputs.into_iter().flatten().map(PathBuf::as_path)) else {
            return Ok(());
        };
        let error = anyhow!("{}: is given twice; inputs and outputs must be different files", output.display());
        Err(Failure::new(Exit::Usage, error))
    }
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let outputs = args.outputs();
    Args::check_format(&outputs)?;
    let interruption = Interruption::listen()?;
    let start = Start::Run { watch: args.follow.watch, history: args.follow.history.as_deref() };
    let setup = Setup::load(&args.setup, &start)?;
    args.follow.check(&setup)?;
    let inputs = Input::all(&args.files)?;
    args.check_outputs(&inputs, &setup)?;
    let progress = Arc::new(Progress::new(&inputs, args.quiet));
    let threads = threads(args.threads).get();
    let (mut writer, workers) = Writer::new(&setup, &outputs, threads, Arc::clone(&progress))?;
    let rules = RuleSetWatch::new(setup.cells());
    let control = setup.follow(&args.setup, args.follow.watch, &progress)?;
    writer.notifier.control.clone_from(&control);
    let stop = Arc::new(Stop::new().or_exit(Exit::Io)?);
    let buffer = Arc::new(ReorderBuffer::new(writer, Arc::clone(&stop)));
    interruption.set_target(&buffer, &stop, control);

    let result = judge(&inputs, rules, workers, &buffer, &stop, outputs.annotates(), &progress);
    let finished = buffer.finish();
    match both(result, finished) {
        Err(failure) if !(interruption.is_set() && failure.is_closed_pipe()) => Err(failure),
        _ if interruption.is_set() => Ok(Exit::Interrupted),
        _ => Ok(Exit::Done),
    }
}

/// Judges all records, or those that were read before the stop. This thread reads. If no worker is free it judges a
/// batch itself, and the batch stays in its processor's cache.
fn judge(
    inputs: &[Input],
    rules: RuleSetWatch,
    mut workers: Vec<Worker>,
    buffer: &ReorderBuffer,
    stop: &Arc<Stop>,
    lines: bool,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut own = workers.pop().expect("there is a worker for each thread, and this is one");
    let threads = workers.len() + 1;
    let (sender, receiver) = mpsc::sync_channel::<Batch>(2 * workers.len());
    let receiver = Arc::new(Mutex::new(receiver));
    std::thread::scope(|scope| {
        for (number, mut worker) in workers.into_iter().enumerate() {
            let receiver = Arc::clone(&receiver);
            let serve = move || {
                let _abort = AbortOnPanic;
                let next = || receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok(batch) = next() {
                    worker.judge(&batch, &mut |part| buffer.put(part));
                }
            };
            if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, serve) {
                warn(format!(
                    "warning: only {} of {threads} threads judge: no more can be started: {error}",
                    number + 1
                ));
                break;
            }
        }
        // If no worker has started, nothing waits for one.
        drop(receiver);
        let mut hand_over = |batch: Batch| {
            buffer.admit(batch.size());
            if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) = sender.try_send(batch) {
                own.judge(&batch, &mut |part| buffer.put(part));
            }
        };
        let result = batch::read(inputs, rules, progress, stop, lines, &mut hand_over);
        drop(sender);
        result
    })
}
