//! `portcullis run`: records in, alerts out.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, TrySendError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, anyhow};
use portcullis::activation::Control;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::activation::Start;
use super::batch::{self, Batch, Published};
use super::failure::{Exit, Failure, OrExit, both, say};
use super::input::{Identity, Input};
use super::judging::Run;
use super::outlet::Outlet;
use super::progress::Progress;
use super::setup::{Setup, SetupArgs};
use super::sink::Format;
use super::stop::Stop;
use super::worker::{EndOnPanic, Worker, threads};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files of records, however they are wrapped or compressed; - is standard input, and so is no file
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    setup: SetupArgs,
    /// How alerts are written [default: text on a terminal, else ndjson]
    #[arg(long, value_enum)]
    pub(super) format: Option<Format>,
    /// Group alerts into incidents, as their rules' DedupPeriodMinutes and Threshold say: of each the first alert, and when
    /// it is over how many there were, from when to when, and the values of SummaryAttributes
    #[arg(long)]
    pub(super) incidents: bool,
    /// With text: also write what to do
    #[arg(long)]
    pub(super) runbook: bool,
    /// Where alerts go [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Write records that are rejected, have malformed fields or make a rule fault, each with the reason
    #[arg(long, value_name = "FILE")]
    pub(super) rejects: Option<PathBuf>,
    /// Write a line for every record: its outcome, and each rule's version and verdict
    #[arg(long, value_name = "FILE")]
    pub(super) ledger: Option<PathBuf>,
    #[command(flatten)]
    follow: FollowArgs,
    /// How many threads judge records; alerts come in the order of the records all the same [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Show no progress and no closing summary; warnings and what goes wrong are still said
    #[arg(long, short)]
    pub(super) quiet: bool,
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
    /// Whether what is asked for is every line of the input.
    pub(super) fn lines(&self) -> bool {
        self.format == Some(Format::Annotated)
    }

    /// An incident is of many lines, and stands in none.
    fn check_format(&self) -> Result<(), Failure> {
        if self.lines() && self.incidents {
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
    args.check_format()?;
    let interruption = Interruption::listen()?;
    let setup = args.setup.load(&Start::Run { watch: args.follow.watch, history: args.follow.history.as_deref() })?;
    args.follow.check(&setup)?;
    let inputs = Input::all(&args.files)?;
    args.check_outputs(&inputs, &setup)?;
    let progress = Arc::new(Progress::new(&inputs, args.quiet));
    let threads = threads(args.threads).get();
    let (mut run, workers) = Run::new(&setup, args, threads, Arc::clone(&progress))?;
    let published = Published::new(setup.exchanges());
    let control = setup.follow(&args.setup, args.follow.watch, &progress)?;
    run.teller.control.clone_from(&control);
    let stop = Arc::new(Stop::new().or_exit(Exit::Io)?);
    let outlet = Arc::new(Outlet::new(run, Arc::clone(&stop)));
    interruption.reaches(&outlet, &stop, control);

    let result = judge(&inputs, published, workers, &outlet, &stop, args.lines(), &progress);
    let finished = outlet.finish();
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
    published: Published,
    mut workers: Vec<Worker>,
    outlet: &Outlet,
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
                let _unless_it_panics = EndOnPanic;
                let next = || receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok(batch) = next() {
                    outlet.put(worker.judge(&batch));
                }
            });
        }
        let mut hand_over = |batch: Batch| {
            outlet.take(batch.size());
            if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) = sender.try_send(batch) {
                outlet.put(own.judge(&batch));
            }
        };
        let result = batch::read(inputs, published, progress, stop, lines, &mut hand_over);
        drop(sender);
        result
    })
}

/// What a signal is to reach: nothing yet while rules are loaded.
#[derive(Clone, Default)]
struct Interruption {
    flag: Arc<AtomicBool>,
    /// A hangup came while there was nothing yet that it could reach.
    hangup: Arc<AtomicBool>,
    target: Arc<OnceLock<Target>>,
}

/// What signals reach.
struct Target {
    outlet: Arc<Outlet>,
    stop: Arc<Stop>,
    /// Where rules come out of files.
    control: Option<Control>,
}

impl Interruption {
    /// Listens from now on. On Ctrl-C or a termination signal no more is read, what has been read is judged, everything is
    /// written out, and the account printed. SIGHUP has rules out of files and the config read again; where there are none, it
    /// is a termination signal.
    fn listen() -> Result<Self, Failure> {
        let interruption = Self::default();
        let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen for Ctrl-C").or_exit(Exit::Io)?;
        let listening = interruption.clone();
        std::thread::spawn(move || listening.wait_for(signals));
        Ok(interruption)
    }

    /// What signals reach from now on.
    fn reaches(&self, outlet: &Arc<Outlet>, stop: &Arc<Stop>, control: Option<Control>) {
        let target = self.target.get_or_init(|| Target { outlet: Arc::clone(outlet), stop: Arc::clone(stop), control });
        if self.hangup.load(Ordering::Relaxed) {
            if let Some(control) = &target.control {
                control.reload();
            } else {
                self.flag.store(true, Ordering::Relaxed);
                stop.set();
            }
        }
    }

    fn wait_for(&self, mut signals: Signals) {
        let ends = |signal: i32| match self.target.get() {
            Some(Target { control: Some(control), .. }) if signal == SIGHUP => {
                control.reload();
                false
            }
            None if signal == SIGHUP => {
                self.hangup.store(true, Ordering::Relaxed);
                false
            }
            _ => true,
        };
        if signals.forever().any(ends) {
            self.flag.store(true, Ordering::Relaxed);
            match self.target.get() {
                Some(target) => end(target, &mut signals),
                None => std::process::exit(Exit::Interrupted as i32),
            }
        }
    }

    fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }
}

/// Has the run end with the account, after all that has been read; or ends the process.
fn end(target: &Target, signals: &mut Signals) {
    target.stop.set();
    // Neither a record whose alert nobody takes off our hands, nor a person who asks again, is to wait for ever.
    if !target.outlet.comes_to_an_end(&mut || signals.pending().any(|signal| signal != SIGHUP)) {
        say(
            "stopped in the middle of a record, which takes too long: there is no account, and the ledger may lack its end",
        );
        std::process::exit(Exit::Interrupted as i32);
    }
}
