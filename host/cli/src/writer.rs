//! Writes the results of a run in the order of the records, and counts them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use portcullis::incidents::{Incident, Incidents};
use portcullis::package::Spec;
use portcullis::report::{Notification, Notifier, Outcomes, RecordReport, ReportOptions, WarningState};
use portcullis::{Accounting, Alert, Tenants, Verdict};

use crate::batch::Source;
use crate::failure::{Failure, both, info, notify, warn};
use crate::output::Output;
use crate::outputs::OutputOptions;
use crate::progress::Progress;
use crate::setup::Setup;
use crate::sink::Sink;
use crate::worker::{Entry, JudgedBatch, Worker};

/// The writer of a run.
pub(crate) struct Writer {
    /// For each worker, the counts of what was written: by tenant, and of unclaimed records.
    accounts: Vec<(Vec<Accounting>, Accounting)>,
    /// The names of the tenants.
    names: Vec<Arc<str>>,
    /// Whether the config has tenants.
    several: bool,
    /// The number of records so far.
    records: u64,
    /// The current input.
    input: Option<InputSoFar>,
    /// The incidents of each tenant: one tenant's events do not close another's incidents.
    incidents: Option<Vec<IncidentsSoFar>>,
    sink: Sink,
    rejects: Option<Output>,
    ledger: Option<Output>,
    progress: Arc<Progress>,
    /// Number of records that were judged and of entries that were written, which grows while the run makes progress.
    pub(crate) steps: Arc<AtomicU64>,
    quiet: bool,
    pub(crate) notifier: Notifier,
    finished: bool,
}

/// Number of records of an endless input after which a warning says that no record was evaluated.
const ENOUGH: u64 = 1_000;

/// An input, and the outcomes of its records so far.
struct InputSoFar {
    source: Arc<Source>,
    outcomes: Outcomes,
    warned: WarningState,
}

/// The open incidents of a tenant, and the number of those that are over.
struct IncidentsSoFar {
    open: Incidents,
    over: u64,
    /// The specs of rules that have alerted, by rule id and version.
    specs: HashMap<(String, String), Spec>,
}

impl Writer {
    /// Opens the outputs, and returns a writer with a worker for each thread.
    pub(crate) fn new(
        setup: &Setup,
        options: &OutputOptions,
        threads: usize,
        progress: Arc<Progress>,
    ) -> Result<(Self, Vec<Worker>), Failure> {
        let first = setup.tenants();
        let others: Vec<Tenants> = (1..threads).map(|_| first.fork()).collect();
        let several = first.unclaimed().is_some();
        let names: Vec<Arc<str>> = first.all().iter().map(|(judge, _)| judge.tenant().into()).collect();
        let notifier = Notifier::new(names.clone(), several, setup.followed());
        let mut tenants: Vec<Tenants> = std::iter::once(first).chain(others).collect();
        let none_so_far =
            |_: &Arc<str>| IncidentsSoFar { open: Incidents::new(Timestamp::now), over: 0, specs: HashMap::new() };
        let writer = Self {
            incidents: options.incidents.then(|| names.iter().map(none_so_far).collect()),
            accounts: tenants.iter_mut().map(Tenants::take_accounts).collect(),
            names,
            several,
            records: 0,
            input: None,
            sink: Sink::open(options.alerts.as_deref(), options.format, options.style)?,
            rejects: options.rejects.as_deref().map(Output::create).transpose()?,
            ledger: options.ledger.as_deref().map(Output::create).transpose()?,
            progress,
            steps: Arc::default(),
            quiet: options.quiet,
            notifier,
            finished: false,
        };
        let reported = ReportOptions {
            ledger: writer.ledger.is_some(),
            rejects: writer.rejects.is_some(),
            times: writer.incidents.is_some(),
        };
        let workers = tenants.into_iter().enumerate();
        let workers =
            workers.map(|(number, tenants)| Worker::new(number, tenants, reported, Arc::clone(&writer.steps)));
        let workers = workers.collect();
        Ok((writer, workers))
    }

    /// Writes the entries of a batch, and counts them in `steps`. An output that fails gets no more. The others get
    /// the whole batch, so that they agree with the account.
    pub(crate) fn write(&mut self, batch: JudgedBatch) -> Result<(), Failure> {
        let first = self.records;
        let records = batch.outcomes.records;
        self.records += records;
        let (tenants, unclaimed) = &mut self.accounts[batch.worker];
        for (account, more) in tenants.iter_mut().zip(batch.accounts.0) {
            account.add(more);
        }
        unclaimed.add(batch.accounts.1);
        self.notifier.set_rules(&batch.rules);
        self.progress.records(records);
        let mut result = Ok(());
        for entry in batch.entries {
            let written_entry = match entry {
                Entry::Report(report) => self.write_report(first + report.n, *report),
                Entry::Line(line) => self.sink.line(&line),
            };
            result = both(result, written_entry);
            self.steps.fetch_add(1, Ordering::Relaxed);
        }
        // The next batch may take long to come.
        let result = both(result, self.sink.flush());
        self.warn(&batch.source, batch.outcomes);
        result
    }

    /// Warns of the outcomes of an input's next records.
    fn warn(&mut self, source: &Arc<Source>, outcomes: Outcomes) {
        let mut warnings = Vec::new();
        if self.input.as_ref().is_none_or(|input| input.source.number != source.number) {
            warnings.extend(self.end_input());
        }
        let input = self.input.get_or_insert_with(|| InputSoFar {
            source: Arc::clone(source),
            outcomes: Outcomes::default(),
            warned: WarningState::default(),
        });
        let others = match &self.rejects {
            Some(_) => "It is in the rejects, and further ones are too",
            None => "Further ones in this input are only counted; --rejects FILE keeps them all",
        };
        warnings.extend(input.warned.record_warnings(&outcomes, others).map(Notification::warning));
        warnings.extend(outcomes.blind.iter().filter_map(|blind| self.notifier.blind(blind)));
        input.outcomes.add(outcomes);
        if !source.ends && input.outcomes.records >= ENOUGH {
            let warning = input.warned.input_warning(&input.outcomes, &source.name);
            warnings.extend(warning.map(Notification::warning));
        }
        for warning in warnings {
            self.notify(&warning);
        }
    }

    /// Ends the current input, and returns the warning about the whole input, if there is one.
    fn end_input(&mut self) -> Option<Notification> {
        let InputSoFar { source, outcomes, mut warned } = self.input.take()?;
        warned.input_warning(&outcomes, &source.name).map(Notification::warning)
    }

    fn write_report(&mut self, n: u64, report: RecordReport) -> Result<(), Failure> {
        let RecordReport { place, tenant, ledger, reject, time, unclaimed, verdicts, wanted_networks, .. } = report;
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
        if let Some(notification) = unclaimed.and_then(|unclaimed| self.notifier.unclaimed(&unclaimed, &place)) {
            self.notify(&notification);
        }
        let Some(tenant) = tenant else { return result };
        for verdict in verdicts {
            for notification in self.notifier.verdict(tenant, &verdict, &place) {
                self.notify(&notification);
            }
            if let Verdict::Alert(alert) = verdict.verdict {
                result = both(result, self.alert(tenant, *alert, verdict.package.spec()));
            }
        }
        if let Some(notification) = wanted_networks.then(|| self.notifier.networks(&place)).flatten() {
            self.notify(&notification);
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
                    .entry((alert.about.rule_id.clone(), alert.about.rule_version.clone()))
                    .or_insert_with(|| spec.clone());
                let (shown, closed) = incidents[tenant].open.add(&alert, spec);
                for incident in closed {
                    self.over(tenant, &incident)?;
                }
                shown
            }
        };
        let Some(alert) = shown else { return Ok(()) };
        write_aside(&mut self.sink, &self.progress, |sink| sink.alert(&alert, spec))
    }

    /// Advances a tenant's time to that of an event, and writes the incidents that are over.
    fn advance(&mut self, tenant: usize, time: Option<&str>) -> Result<(), Failure> {
        let Some(incidents) = &mut self.incidents else { return Ok(()) };
        for incident in incidents[tenant].open.advance(time) {
            self.over(tenant, &incident)?;
        }
        Ok(())
    }

    /// Writes a tenant's incident that is over.
    fn over(&mut self, tenant: usize, incident: &Incident) -> Result<(), Failure> {
        let incidents = self.incidents.as_mut().expect("there are incidents");
        let IncidentsSoFar { over, specs, .. } = &mut incidents[tenant];
        *over += 1;
        // The version that raised its first alert may be gone.
        let spec = &specs[&(incident.alert.about.rule_id.clone(), incident.alert.about.rule_version.clone())];
        write_aside(&mut self.sink, &self.progress, |sink| sink.incident(incident, spec))
    }

    fn notify(&self, notification: &Notification) {
        self.progress.aside(|| notify(notification));
    }

    /// Flushes all outputs and prints the account. Does nothing if called again.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(());
        }
        let mut result = Ok(());
        for tenant in 0..self.names.len() {
            let open = self.incidents.as_mut().map(|incidents| incidents[tenant].open.close_all());
            for incident in open.unwrap_or_default() {
                // The account needs the count, even if the alerts have no reader any more.
                result = both(result, self.over(tenant, &incident));
            }
        }
        result = both(result, self.sink.flush());
        for output in [self.rejects.as_mut(), self.ledger.as_mut()].into_iter().flatten() {
            result = both(result, output.flush());
        }
        // These can block, on the reader of standard error or on a compilation, and come last.
        self.progress.finish();
        if let Some(Err(unfinished)) = self.notifier.control.take().map(|control| control.finish()) {
            warn(format_args!("warning: {unfinished}"));
        }
        self.end_input().iter().for_each(notify);
        if !self.quiet {
            self.summarize();
        }
        result
    }

    /// Prints the account: in total, and if the config has tenants, for each tenant and for unclaimed records.
    fn summarize(&mut self) {
        if self.records == 0 {
            info("the input contains no records");
        }
        let mut accounts = std::mem::take(&mut self.accounts).into_iter();
        let (mut tenants, mut unclaimed) = accounts.next().expect("there is a thread");
        for (others, other_unclaimed) in accounts {
            for (account, other) in tenants.iter_mut().zip(others) {
                account.add(other);
            }
            unclaimed.add(other_unclaimed);
        }
        if self.several {
            info(Accounting::total(tenants.iter().chain([&unclaimed])));
            for (name, account) in self.names.iter().zip(&tenants) {
                print_account(&format!("tenant {name}"), account);
            }
            print_account("no tenant", &unclaimed);
        } else {
            info(&tenants[0]);
        }
        if let Some(incidents) = &self.incidents {
            let over: u64 = incidents.iter().map(|incidents| incidents.over).sum();
            let below: u64 = incidents.iter().map(|incidents| incidents.open.below_threshold()).sum();
            let rules = tenants.iter().flat_map(Accounting::rules);
            let alerts: u64 = rules.map(|rule| rule.alert).sum();
            info(format_args!(
                "incidents: {over} of {} alerts; {below} alerts below their rule's Threshold",
                alerts - below
            ));
        }
    }
}

/// Writes to the sink. If that is the terminal, the progress bar is hidden meanwhile.
fn write_aside(
    sink: &mut Sink,
    progress: &Progress,
    write: impl FnOnce(&mut Sink) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if sink.on_terminal() { progress.aside(|| write(sink)) } else { write(sink) }
}

/// Prints an account with a prefix before each line.
fn print_account(prefix: &str, accounting: &Accounting) {
    for line in accounting.to_string().lines() {
        info(format_args!("{prefix}: {line}"));
    }
}
