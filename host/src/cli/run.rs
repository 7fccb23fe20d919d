//! `portcullis run`: records in, alerts out.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use portcullis::package::Spec;
use portcullis::read::{Record, Records};
use portcullis::{
    Accounting, Alert, Engine, Incident, Incidents, Judge, Judgement, RuleSet, RuleVerdict, Verdict, ledger_line,
    reject_line,
};
use portcullis_event::Outcome;

use super::failure::{Exit, Failure, OrExit, both, say};
use super::input::{Identity, Input};
use super::output::Output;
use super::progress::Progress;
use super::setup::{Setup, SetupArgs};
use super::sink::{Format, Sink};

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
    /// Show no progress and no closing summary; warnings and what goes wrong are still said
    #[arg(long, short)]
    quiet: bool,
}

impl Args {
    /// Writing to a file empties it first: no output may be an input, or another output.
    fn check_outputs(&self, inputs: &[Input], setup: &Setup) -> Result<(), Failure> {
        let mut taken: Vec<Identity> = inputs.iter().filter_map(Input::identity).collect();
        taken.extend(setup.files.iter().filter_map(|file| Identity::of(file)));
        for output in [&self.output, &self.rejects, &self.ledger].into_iter().flatten() {
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
    let engine = Engine::new().or_exit(Exit::Setup)?;
    let setup = args.setup.load(&engine)?;
    let inputs = Input::all(&args.files)?;
    args.check_outputs(&inputs, &setup)?;
    let progress = Arc::new(Progress::new(&inputs, args.quiet));
    let run = Arc::new(Mutex::new(Run::new(&setup, args, Arc::clone(&progress))?));
    let interrupted = finish_when_interrupted(&run)?;

    let result = read(&inputs, &run, &progress, &interrupted);
    let finished = lock(&run).finish();
    both(result, finished)?;
    Ok(if interrupted.load(Ordering::Relaxed) { Exit::Interrupted } else { Exit::Done })
}

/// Judges all records, or those until the run is interrupted. An input that cannot be read to its end costs the others
/// nothing.
fn read(inputs: &[Input], run: &Mutex<Run>, progress: &Progress, interrupted: &AtomicBool) -> Result<(), Failure> {
    let mut unreadable = Ok(());
    for input in inputs {
        let result = read_input(input, run, progress, interrupted);
        match result {
            Ok(()) => {}
            Err(failure) if failure.is_unreadable() && !interrupted.load(Ordering::Relaxed) => {
                if let Err(earlier) = std::mem::replace(&mut unreadable, Err(failure)) {
                    progress.aside(|| earlier.report());
                }
            }
            other => return other,
        }
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
    }
    unreadable
}

fn read_input(input: &Input, run: &Mutex<Run>, progress: &Progress, interrupted: &AtomicBool) -> Result<(), Failure> {
    let mut records = Records::default();
    let mut documents = input.open(|file| progress.reading(file))?;
    let name = input.name();
    loop {
        let document = match documents.next_document() {
            Ok(Some(document)) => document,
            Ok(None) => return Ok(()),
            Err(error) => {
                let line = documents.line();
                let error = anyhow!(error).context(format!("{name}: cannot be read any further in line {line}"));
                return Err(Failure::unreadable(error));
            }
        };
        let mut run = lock(run);
        let ended = records.for_each(&document, &mut |record, outcome| {
            run.record(&name, record, outcome).map_err(Some)?;
            if interrupted.load(Ordering::Relaxed) { Err(None) } else { Ok(()) }
        });
        match ended {
            Ok(()) => {}
            Err(None) => return Ok(()),
            Err(Some(failure)) => return Err(failure),
        }
    }
}

fn lock(run: &Mutex<Run>) -> MutexGuard<'_, Run> {
    run.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On Ctrl-C or a termination signal: the record in hand is finished, everything is written out, the account printed.
/// While records come, the loop that reads them sees the flag and does so; while it waits for input, the handler does.
fn finish_when_interrupted(run: &Arc<Mutex<Run>>) -> Result<Arc<AtomicBool>, Failure> {
    let run = Arc::clone(run);
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let handler = move || {
        flag.store(true, Ordering::Relaxed);
        // A record whose alert nobody takes off our hands must not hold the process for ever.
        for _ in 0..100 {
            if let Ok(mut run) = run.try_lock() {
                if let Err(failure) = run.finish() {
                    failure.report();
                }
                // Still locked: no record may follow the account.
                std::process::exit(Exit::Interrupted as i32);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        std::process::exit(Exit::Interrupted as i32);
    };
    ctrlc::set_handler(handler).context("cannot listen for Ctrl-C").or_exit(Exit::Io)?;
    Ok(interrupted)
}

/// Said once, of the first record that it is true of.
const NO_NETWORKS: &str = "warning: nothing says whose network the public source address is in: a cloud's own nodes look like \
     intruders. Give --cloud-ranges with the ranges that your cloud publishes, or --asn-db with a database of networks";

/// A run between two records.
struct Run {
    rules: Arc<RuleSet>,
    judge: Judge,
    accounting: Accounting,
    incidents: Option<IncidentsSoFar>,
    sink: Sink,
    rejects: Option<Output>,
    ledger: Option<Output>,
    progress: Arc<Progress>,
    quiet: bool,
    warned: bool,
    finished: bool,
}

/// The incidents that are open, and the number of those that are over.
struct IncidentsSoFar {
    open: Incidents,
    over: u64,
}

impl Run {
    fn new(setup: &Setup, args: &Args, progress: Arc<Progress>) -> Result<Self, Failure> {
        Ok(Self {
            judge: setup.judge(),
            accounting: Accounting::new(&setup.rules),
            rules: Arc::clone(&setup.rules),
            incidents: args.incidents.then(|| IncidentsSoFar { open: Incidents::new(Timestamp::now), over: 0 }),
            sink: Sink::open(args.output.as_deref(), args.format, args.runbook)?,
            rejects: args.rejects.as_deref().map(Output::create).transpose()?,
            ledger: args.ledger.as_deref().map(Output::create).transpose()?,
            progress,
            quiet: args.quiet,
            warned: false,
            finished: false,
        })
    }

    fn record(&mut self, input: &str, record: &Record<'_>, outcome: Outcome<'_>) -> Result<(), Failure> {
        let place = || format!("{input}:{}", record.place);
        let n = self.accounting.read();
        if let (Some(incidents), Outcome::Evaluated(event)) = (&mut self.incidents, &outcome) {
            for incident in incidents.open.advance(event.event_time.as_deref()) {
                self.over(&incident)?;
            }
        }
        let judgement = self.judge.outcome(outcome, record.bytes);
        self.accounting.count(&judgement);
        self.progress.record();
        if let Some(ledger) = &mut self.ledger {
            ledger.write_line(&ledger_line(n, &judgement, &self.rules))?;
        }
        if let Some(rejects) = &mut self.rejects
            && let Some(line) = reject_line(n, &place(), record.bytes, &judgement, &self.rules)
        {
            rejects.write_line(&line)?;
            rejects.flush()?;
        }
        let Judgement::Evaluated { verdicts, .. } = judgement else {
            return Ok(());
        };
        let rules = Arc::clone(&self.rules);
        for RuleVerdict { rule, verdict } in verdicts {
            let package = &rules.packages()[rule];
            match verdict {
                Verdict::Alert(alert) => self.alert(*alert, package.spec())?,
                Verdict::Fault(fault) => {
                    self.say(format_args!(
                        "{}: {} {} failed: it {fault}",
                        place(),
                        package.rule_id(),
                        package.version()
                    ));
                }
                Verdict::Excluded { .. } | Verdict::NoMatch | Verdict::Skipped => {}
            }
        }
        if !self.warned && self.judge.wanted_networks() {
            self.warned = true;
            self.say(format_args!("{}: {NO_NETWORKS}", place()));
        }
        Ok(())
    }

    fn alert(&mut self, alert: Alert, spec: &Spec) -> Result<(), Failure> {
        self.progress.alert();
        let shown = match &mut self.incidents {
            None => Some(alert),
            Some(incidents) => {
                let (shown, made_room) = incidents.open.add(&alert, spec);
                if let Some(incident) = made_room {
                    self.over(&incident)?;
                }
                shown
            }
        };
        let Some(alert) = shown else { return Ok(()) };
        self.write(|sink| sink.alert(&alert, spec))
    }

    /// An incident is over.
    fn over(&mut self, incident: &Incident) -> Result<(), Failure> {
        if let Some(incidents) = &mut self.incidents {
            incidents.over += 1;
        }
        let rules = Arc::clone(&self.rules);
        let package = rules.packages().iter().find(|package| package.rule_id() == incident.alert.rule_id);
        let spec = package.expect("an incident is of one of the rules").spec();
        self.write(|sink| sink.incident(incident, spec))
    }

    fn write(&mut self, write: impl FnOnce(&mut Sink) -> Result<(), Failure>) -> Result<(), Failure> {
        if self.sink.on_terminal() { self.progress.aside(|| write(&mut self.sink)) } else { write(&mut self.sink) }
    }

    fn say(&self, text: impl std::fmt::Display) {
        self.progress.aside(|| say(text));
    }

    /// Writes everything out and prints the account; once.
    fn finish(&mut self) -> Result<(), Failure> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(());
        }
        self.progress.finish();
        let mut result = Ok(());
        for incident in self.incidents.as_mut().map(|incidents| incidents.open.close_all()).unwrap_or_default() {
            // The count goes on, whoever reads the alerts no more.
            result = both(result, self.over(&incident));
        }
        result = both(result, self.sink.flush());
        for output in [self.rejects.as_mut(), self.ledger.as_mut()].into_iter().flatten() {
            result = both(result, output.flush());
        }
        if !self.quiet {
            self.summarize();
        }
        result
    }

    fn summarize(&self) {
        if self.accounting.read() == 0 {
            say("the input holds no record");
        }
        say(&self.accounting);
        if let Some(IncidentsSoFar { open, over }) = &self.incidents {
            let alerts: u64 = self.accounting.rules.iter().map(|rule| rule.alert).sum();
            let below = open.below_threshold();
            say(format_args!(
                "incidents: {over} of {} alerts; {below} alerts below their rule's Threshold",
                alerts - below
            ));
        }
    }
}
