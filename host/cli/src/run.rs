//! `portcullis run`: records in, alerts out.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::mpsc::{self, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use portcullis::pipeline::{AbortOnPanic, threads};
use portcullis::rule_set::RuleSetWatch;

use crate::activation::Start;
use crate::batch::{self, Batch};
use crate::failure::{Exit, Failure, OrExit, both};
use crate::input::{Identity, Input};
use crate::outputs::OutputOptions;
use crate::progress::Progress;
use crate::reorder_buffer::ReorderBuffer;
use crate::setup::{Setup, SetupArgs};
use crate::signals::Interruption;
use crate::sink::Format;
use crate::stop::Stop;
use crate::worker::Worker;
use crate::writer::Writer;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files of records, however they are wrapped or compressed; - is standard input, and so is no file
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    setup: SetupArgs,
    /// How alerts are written [default: text on a terminal, else ndjson]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Group alerts into incidents, as their rules' DedupPeriodMinutes and Threshold say: of each the first alert, and when
    /// it is over how many there were, from when to when, and the values of SummaryAttributes
    #[arg(long)]
    incidents: bool,
    /// With text: also write what to do
    #[arg(long)]
    runbook: bool,
    /// Where alerts go [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write records that are rejected, have malformed fields or make a rule fault, each with the reason
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Write a line for every record: its outcome, and each rule's version and verdict
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    #[command(flatten)]
    follow: FollowArgs,
    /// How many threads judge records; alerts come in the order of the records all the same [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Show no progress and no closing summary; warnings and what goes wrong are still said
    #[arg(long, short)]
    quiet: bool,
}

/// How rules out of files are followed.
#[derive(clap::Args)]
struct FollowArgs {
    /// Follow the rules' files and the config: a new version takes over between two records when it has proved itself
    #[arg(long)]
    watch: bool,
    /// Append what becomes of each version of each rule, and start from what is written there
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

impl FollowArgs {
    /// What is asked for needs rules that can change.
    fn check(&self, setup: &Setup) -> Result<(), Failure> {
        let asked = if self.watch { "--watch" } else { "--history" };
        if (self.watch || self.history.is_some()) && setup.followed().iter().all(Option::is_none) {
            let error =
                anyhow!("{asked}: the rules come with the program, and do not change; name others with --rules");
            return Err(Failure::new(Exit::Usage, error));
        }
        Ok(())
    }
}

impl Args {
    fn outputs(&self) -> OutputOptions {
        OutputOptions {
            format: self.format,
            incidents: self.incidents,
            runbook: self.runbook,
            alerts: self.output.clone(),
            rejects: self.rejects.clone(),
            ledger: self.ledger.clone(),
            quiet: self.quiet,
        }
    }

    /// An incident is of many lines, and stands in none.
    fn check_format(outputs: &OutputOptions) -> Result<(), Failure> {
        if outputs.annotates() && outputs.incidents {
            let error =
                anyhow!("--incidents: with --format annotated alerts stand in their lines, and cannot be grouped");
            return Err(Failure::new(Exit::Usage, error));
        }
        Ok(())
    }

    /// Writing to a file empties it first: no output may be an input, or another output.
    fn check_outputs(&self, inputs: &[Input], setup: &Setup) -> Result<(), Failure> {
        let mut taken: Vec<Identity> = inputs.iter().filter_map(Input::identity).collect();
        taken.extend(setup.files.iter().filter_map(|file| Identity::of(file)));
        for output in [&self.output, &self.rejects, &self.ledger, &self.follow.history].into_iter().flatten() {
            let Some(file) = Identity::of(output) else { continue };
            if taken.contains(&file) {
                let error = anyhow!("{}: is given twice; inputs and outputs must be different files", output.display());
                return Err(Failure::new(Exit::Usage, error));
            }
            taken.push(file);
        }
        Ok(())
    }
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let outputs = args.outputs();
    Args::check_format(&outputs)?;
    let interruption = Interruption::listen()?;
    let setup = args.setup.load(&Start::Run { watch: args.follow.watch, history: args.follow.history.as_deref() })?;
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
    interruption.reaches(&buffer, &stop, control);

    let result = judge(&inputs, rules, workers, &buffer, &stop, outputs.annotates(), &progress);
    let finished = buffer.finish();
    match both(result, finished) {
        Err(failure) if !(interruption.is_set() && failure.is_closed_pipe()) => Err(failure),
        _ if interruption.is_set() => Ok(Exit::Interrupted),
        _ => Ok(Exit::Done),
    }
}

/// Judges all records, or those that have been read when it is to stop. This thread reads; what the others have no time for it
/// judges itself, which then does not leave its processor's cache.
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
    let (sender, receiver) = mpsc::sync_channel::<Batch>(2 * workers.len());
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        for mut worker in workers {
            let receiver = &receiver;
            scope.spawn(move || {
                let _abort = AbortOnPanic;
                let next = || receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok(batch) = next() {
                    buffer.put(worker.judge(&batch));
                }
            });
        }
        let mut hand_over = |batch: Batch| {
            buffer.take(batch.size());
            if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) = sender.try_send(batch) {
                buffer.put(own.judge(&batch));
            }
        };
        let result = batch::read(inputs, rules, progress, stop, lines, &mut hand_over);
        drop(sender);
        result
    })
}
