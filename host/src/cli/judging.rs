//! A run of `portcullis run` between two records: judges, writes, tells, and accounts for all of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use portcullis::package::Spec;
use portcullis::{Accounting, Alert, Incident, Incidents, Tenants, Verdict};

use super::batch::Source;
use super::failure::{Failure, both, say};
use super::output::Output;
use super::progress::Progress;
use super::run::Args;
use super::seen::{Seen, Told};
use super::setup::Setup;
use super::sink::Sink;
use super::telling::Teller;
use super::worker::{JudgedBatch, Noted, Wanted, Worker};

/// A run between two records.
pub(super) struct Run {
    /// By worker, and by tenant: what has been written; and of what is nobody's.
    accounts: Vec<(Vec<Accounting>, Accounting)>,
    /// By tenant.
    names: Vec<Arc<str>>,
    /// Whether there are several tenants, or one that has only the records that it claims.
    several: bool,
    /// Records so far.
    records: u64,
    /// The input that is being written about.
    input: Option<InputSoFar>,
    /// For each tenant its own: nobody's alerts close another's incidents.
    incidents: Option<Vec<IncidentsSoFar>>,
    sink: Sink,
    rejects: Option<Output>,
    ledger: Option<Output>,
    progress: Arc<Progress>,
    quiet: bool,
    pub(super) teller: Teller,
    finished: bool,
}

/// How many records of an input that may never end are read before it is said that none was evaluated.
const ENOUGH: u64 = 1_000;

/// An input, and what became of its records so far.
struct InputSoFar {
    source: Arc<Source>,
    seen: Seen,
    told: Told,
}

/// The incidents that are open, and the number of those that are over.
struct IncidentsSoFar {
    open: Incidents,
    over: u64,
    /// Of the rules that have alerted, by id and version.
    specs: HashMap<(String, String), Spec>,
}

impl Run {
    /// A run with so many threads to judge, and a worker for each.
    pub(super) fn new(
        setup: &Setup,
        args: &Args,
        threads: usize,
        progress: Arc<Progress>,
    ) -> Result<(Self, Vec<Worker>), Failure> {
        let first = setup.tenants();
        let others: Vec<Tenants> = (1..threads).map(|_| first.another()).collect();
        let several = first.nobodys().is_some();
        let names: Vec<Arc<str>> = first.all().iter().map(|(judge, _)| judge.tenant().into()).collect();
        let teller = Teller::new(names.clone(), several, setup.followed());
        let mut tenants: Vec<Tenants> = std::iter::once(first).chain(others).collect();
        let none_so_far =
            |_: &Arc<str>| IncidentsSoFar { open: Incidents::new(Timestamp::now), over: 0, specs: HashMap::new() };
        let run = Self {
            incidents: args.incidents.then(|| names.iter().map(none_so_far).collect()),
            accounts: tenants.iter_mut().map(Tenants::take_accounts).collect(),
            names,
            several,
            records: 0,
            input: None,
            sink: Sink::open(args.output.as_deref(), args.format, args.runbook)?,
            rejects: args.rejects.as_deref().map(Output::create).transpose()?,
            ledger: args.ledger.as_deref().map(Output::create).transpose()?,
            progress,
            quiet: args.quiet,
            teller,
            finished: false,
        };
        let wanted =
            Wanted { ledger: run.ledger.is_some(), rejects: run.rejects.is_some(), times: run.incidents.is_some() };
        let workers = tenants.into_iter().enumerate();
        let workers = workers.map(|(number, tenants)| Worker::new(number, tenants, wanted)).collect();
        Ok((run, workers))
    }

    /// Writes what there is to write about a batch, counting records as they are written. An output that fails gets no more;
    /// the others get the batch to its end, so that they agree with the account.
    pub(super) fn write(&mut self, batch: JudgedBatch, written: &AtomicU64) -> Result<(), Failure> {
        let first = self.records;
        let records = batch.seen.records;
        self.records += records;
        let (tenants, nobodys) = &mut self.accounts[batch.worker];
        for (account, more) in tenants.iter_mut().zip(batch.accounts.0) {
            account.add(more);
        }
        nobodys.add(batch.accounts.1);
        self.teller.goes_by(&batch.rules);
        self.progress.records(records);
        let mut result = Ok(());
        for noted in batch.noted {
            result = both(result, self.write_record(first + noted.n, noted));
            written.fetch_add(1, Ordering::Relaxed);
        }
        // The next batch may be long in coming.
        let result = both(result, self.sink.flush());
        self.tell(&batch.source, batch.seen);
        result
    }

    /// Tells what is to be told of the records of an input, the next of which these are.
    fn tell(&mut self, source: &Arc<Source>, seen: Seen) {
        let mut said = Vec::new();
        if self.input.as_ref().is_none_or(|input| input.source.number != source.number) {
            said.extend(self.end_input());
        }
        let input = self.input.get_or_insert_with(|| InputSoFar {
            source: Arc::clone(source),
            seen: Seen::default(),
            told: Told::default(),
        });
        let others = match &self.rejects {
            Some(_) => "It is among the rejects, as are others",
            None => "Of others in this input only the number is told; --rejects FILE keeps all of them",
        };
        said.extend(input.told.of_records(&seen, others));
        said.extend(seen.blind.iter().filter_map(|blind| self.teller.blind(blind)));
        input.seen.add(seen);
        if !source.ends && input.seen.records >= ENOUGH {
            said.extend(input.told.of_all(&input.seen, &source.name));
        }
        for text in said {
            self.say(text);
        }
    }

    /// The input that was being written about is over; what is to be told of it.
    fn end_input(&mut self) -> Option<String> {
        let InputSoFar { source, seen, mut told } = self.input.take()?;
        told.of_all(&seen, &source.name)
    }

    fn write_record(&mut self, n: u64, noted: Noted) -> Result<(), Failure> {
        let Noted { place, tenant, ledger, reject, time, unowned, verdicts, wanted_networks, line, .. } = noted;
        let mut result = Ok(());
        if let (Some(output), Some(line)) = (&mut self.ledger, ledger) {
            result = both(result, output.write_line(&line.numbered(n)));
        }
        if let (Some(output), Some(line)) = (&mut self.rejects, reject) {
            result = both(result, output.write_line(&line.numbered(n)).and_then(|()| output.flush()));
        }
        if let (Some(tenant), Some(time)) = (tenant, time) {
            result = both(result, self.advance(tenant, time.as_deref()));
        }
        if let Some(text) = unowned.and_then(|unowned| self.teller.unowned(&unowned, &place)) {
            self.say(text);
        }
        if let Some(line) = line {
            result = both(result, self.sink.line(&line));
        }
        let Some(tenant) = tenant else { return result };
        for verdict in verdicts {
            for text in self.teller.verdict(tenant, &verdict, &place) {
                self.say(text);
            }
            if let Verdict::Alert(alert) = verdict.verdict {
                result = both(result, self.alert(tenant, *alert, verdict.package.spec()));
            }
        }
        if let Some(text) = wanted_networks.then(|| self.teller.networks(&place)).flatten() {
            self.say(text);
        }
        result
    }

    fn alert(&mut self, tenant: usize, alert: Alert, spec: &Spec) -> Result<(), Failure> {
        self.progress.alert();
        let shown = match &mut self.incidents {
            None => Some(alert),
            Some(incidents) => {
                incidents[tenant]
                    .specs
                    .entry((alert.rule_id.clone(), alert.rule_version.clone()))
                    .or_insert_with(|| spec.clone());
                let (shown, made_room) = incidents[tenant].open.add(&alert, spec);
                for incident in made_room {
                    self.over(tenant, &incident)?;
                }
                shown
            }
        };
        let Some(alert) = shown else { return Ok(()) };
        write_aside(&mut self.sink, &self.progress, |sink| sink.alert(&alert, spec))
    }

    /// A tenant's event has this time.
    fn advance(&mut self, tenant: usize, time: Option<&str>) -> Result<(), Failure> {
        let Some(incidents) = &mut self.incidents else { return Ok(()) };
        for incident in incidents[tenant].open.advance(time) {
            self.over(tenant, &incident)?;
        }
        Ok(())
    }

    /// A tenant's incident is over.
    fn over(&mut self, tenant: usize, incident: &Incident) -> Result<(), Failure> {
        let incidents = self.incidents.as_mut().expect("there are incidents");
        let IncidentsSoFar { over, specs, .. } = &mut incidents[tenant];
        *over += 1;
        // The version that raised its first alert may be gone.
        let spec = &specs[&(incident.alert.rule_id.clone(), incident.alert.rule_version.clone())];
        write_aside(&mut self.sink, &self.progress, |sink| sink.incident(incident, spec))
    }

    fn say(&self, text: impl std::fmt::Display) {
        self.progress.aside(|| say(text));
    }

    /// Writes everything out and prints the account; once.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(());
        }
        let mut result = Ok(());
        for tenant in 0..self.names.len() {
            let open = self.incidents.as_mut().map(|incidents| incidents[tenant].open.close_all());
            for incident in open.unwrap_or_default() {
                // The count goes on, whoever reads the alerts no more.
                result = both(result, self.over(tenant, &incident));
            }
        }
        result = both(result, self.sink.flush());
        for output in [self.rejects.as_mut(), self.ledger.as_mut()].into_iter().flatten() {
            result = both(result, output.flush());
        }
        // Only now what could be kept waiting by who reads standard error, or by what is being compiled.
        self.progress.finish();
        if let Some(control) = self.teller.control.take() {
            control.finish();
        }
        self.end_input().into_iter().for_each(say);
        if !self.quiet {
            self.summarize();
        }
        result
    }

    /// The account: in all, and where there are several tenants, of each of them and of what is nobody's.
    fn summarize(&mut self) {
        if self.records == 0 {
            say("the input holds no record");
        }
        let mut accounts = std::mem::take(&mut self.accounts).into_iter();
        let (mut tenants, mut nobodys) = accounts.next().expect("there is a thread");
        for (others, other_nobodys) in accounts {
            for (account, other) in tenants.iter_mut().zip(others) {
                account.add(other);
            }
            nobodys.add(other_nobodys);
        }
        if self.several {
            say(Accounting::total(tenants.iter().chain([&nobodys])));
            for (name, account) in self.names.iter().zip(&tenants) {
                say_of(&format!("tenant {name}"), account);
            }
            say_of("no tenant", &nobodys);
        } else {
            say(&tenants[0]);
        }
        if let Some(incidents) = &self.incidents {
            let over: u64 = incidents.iter().map(|incidents| incidents.over).sum();
            let below: u64 = incidents.iter().map(|incidents| incidents.open.below_threshold()).sum();
            let rules = tenants.iter().flat_map(Accounting::rules);
            let alerts: u64 = rules.map(|rule| rule.alert).sum();
            say(format_args!(
                "incidents: {over} of {} alerts; {below} alerts below their rule's Threshold",
                alerts - below
            ));
        }
    }
}

/// Writes to the sink; where that is the terminal, with the bar out of the way.
fn write_aside(
    sink: &mut Sink,
    progress: &Progress,
    write: impl FnOnce(&mut Sink) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if sink.on_terminal() { progress.aside(|| write(sink)) } else { write(sink) }
}

/// Says of whom each line is.
fn say_of(whom: &str, accounting: &Accounting) {
    for line in accounting.to_string().lines() {
        say(format_args!("{whom}: {line}"));
    }
}
