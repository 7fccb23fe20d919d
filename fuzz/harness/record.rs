//! Fuzzes an input file, from decompression to the output about each record.

use std::io::{self, Read};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use portcullis::incidents::{Incident, Incidents};
use portcullis::pipeline::{DEFAULT_TENANT, LedgerMembers, MAX_KEPT, Verdicts, ledger_line, reject_line};
use portcullis::read::{Documents, Record, Records, decompressed};
use portcullis::test_cases::pretty;
use portcullis::{Accounting, Judge, Judgement, Limits, RuleSet, Verdict, embedded};
use portcullis_event::{Buffers, Event, Ignored, Outcome, Rejected, normalize};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::component::ENGINE;
use super::output::{NOW, check_alert, check_incident, json_line};

/// Maximum number of decompressed bytes that are read. A few bytes can decompress to gigabytes, which takes time and
/// finds nothing.
const MAX_BYTES: u64 = 256 << 10;

/// Ten times the default, so that rules do not exceed it on a slow or busy machine.
const TIME: Duration = Duration::from_millis(100);

static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    let packages = embedded::packages(&ENGINE).expect("the embedded rules load");
    Arc::new(RuleSet::new(packages).expect("the embedded rules are a rule set"))
});

/// Reads the bytes as an input file, and evaluates its records.
pub(crate) fn record(data: &[u8]) {
    let Ok(input) = decompressed(Box::new(io::Cursor::new(data.to_vec()))) else { return };
    let mut run = Run::new();
    let mut seen = Vec::new();
    read(input.take(MAX_BYTES), |record, outcome| {
        seen.push(description(record));
        run.record(record, outcome);
    });
    run.finish();

    let is_line = data.len() as u64 <= MAX_BYTES && !data.contains(&b'\n');
    if is_line && matches!(normalize(data, &mut Buffers::default()), Outcome::Evaluated(_)) {
        let line = data.trim_ascii_end().escape_ascii();
        assert_eq!(seen, [format!("1: {line}")], "a line that is a record must be read as that record");
    }

    if let Some(data) = plain(data) {
        let mut again = Vec::new();
        let step = 1 + data.len() % 61;
        read(Trickle { data, at: 0, step }, |record, _| again.push(description(record)));
        assert_eq!(seen, again, "the records must not depend on how many bytes each read returns, here {step}");
    }
}

fn description(record: &Record<'_>) -> String {
    format!("{}: {}", record.place, record.bytes.escape_ascii())
}

/// Decompresses the bytes. Returns `None` if the compression is broken: how much is read before the error depends on
/// the size of reads.
fn plain(data: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    decompressed(Box::new(io::Cursor::new(data.to_vec()))).ok()?.take(MAX_BYTES).read_to_end(&mut plain).ok()?;
    Some(plain)
}

/// Calls `each` with each record of an input.
fn read(input: impl Read, mut each: impl FnMut(&Record<'_>, Outcome<'_>)) {
    let mut documents = Documents::new(input);
    let mut records = Records::default();
    while let Ok(Some(document)) = documents.next_document() {
        let done = records.for_each(&document, &mut |record, outcome| {
            each(record, outcome);
            Ok::<(), ()>(())
        });
        assert_eq!(done, Ok(()));
    }
}

/// An input that returns only a few bytes per read.
struct Trickle {
    data: Vec<u8>,
    at: usize,
    step: usize,
}

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.data[self.at..];
        let count = rest.len().min(self.step).min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

/// A run over all records of an input, with what is needed to check its accounting.
struct Run {
    judge: Judge,
    without_prefilters: Judge,
    accounting: Accounting,
    incidents: Incidents,
    /// Number of events that each rule subscribes to.
    subscribed: Vec<u64>,
    alerts: u64,
    in_incidents: u64,
}

impl Run {
    fn new() -> Self {
        let limits = Limits { time: TIME, ..Limits::default() };
        let judge = || Judge::builder(limits).rules(Arc::clone(&RULES));
        Self {
            judge: judge().build(),
            without_prefilters: judge().without_prefilters().build(),
            accounting: Accounting::new(&RULES),
            incidents: Incidents::new(|| NOW),
            subscribed: vec![0; RULES.packages().len()],
            alerts: 0,
            in_incidents: 0,
        }
    }

    fn record(&mut self, record: &Record<'_>, outcome: Outcome<'_>) {
        check_outcome(record.bytes, &outcome);
        if let Outcome::Evaluated(event) = &outcome {
            self.event(event);
        }
        let n = self.accounting.read();
        let judgement = self.judge.outcome(outcome);
        self.accounting.count(&judgement);
        assert_eq!(self.accounting.read(), n + 1, "every record must have one outcome");
        check_lines(n, record, &judgement);

        let alone = self.without_prefilters.record(record.bytes);
        match (&judgement, &alone) {
            (
                Judgement::Evaluated { malformed, verdicts },
                Judgement::Evaluated { malformed: malformed_alone, verdicts: verdicts_alone },
            ) => {
                // Only the envelope shows whether the record was cut off.
                let own = |paths: &[String]| paths.iter().filter(|path| **path != Event::CUT_OFF).count();
                assert_eq!(own(malformed), own(malformed_alone));
                self.verdicts(verdicts, verdicts_alone);
            }
            // Only the search for records in envelopes marks ignored records as suspect.
            (Judgement::Ignored(Ignored::Suspect { reason, .. }), Judgement::Ignored(alone)) => {
                assert_eq!(**reason, *alone);
            }
            // A list may say that its items are audit events, a line with a prefix is not a record on its own, and the
            // limits of the search do not apply to a single record.
            (
                Judgement::Evaluated { .. },
                Judgement::Ignored(Ignored::Shape) | Judgement::Rejected(Rejected::CutOff),
            )
            | (Judgement::Ignored(_), Judgement::Rejected(Rejected::NotJson(_)))
            | (Judgement::Rejected(Rejected::Tangled | Rejected::TooLong { .. }), _) => {}
            _ => assert_eq!(format!("{judgement:?}"), format!("{alone:?}")),
        }
    }

    fn event(&mut self, event: &Event<'_>) {
        assert!(!pretty(event).is_empty());
        for (package, count) in RULES.packages().iter().zip(&mut self.subscribed) {
            *count += u64::from(package.spec().log_types.contains(&event.log_type));
        }
        for incident in self.incidents.advance(event.event_time.as_deref()) {
            self.check_closed(&incident);
        }
    }

    /// Compares the verdicts with `unfiltered`, the verdicts without prefilters.
    fn verdicts(&mut self, verdicts: &Verdicts, unfiltered: &Verdicts) {
        assert_eq!(verdicts.all().count(), unfiltered.all().count());
        assert!(verdicts.judged().iter().all(|verdict| verdict.notices.is_empty()));
        for ((package, verdict), (other_package, unfiltered)) in verdicts.all().zip(unfiltered.all()) {
            assert_eq!(package, other_package);
            let spec = package.spec();
            match (verdict, unfiltered) {
                (Verdict::NoMatch | Verdict::Skipped, Verdict::NoMatch) => {}
                (Verdict::Alert(alert), Verdict::Alert(other)) => {
                    assert_eq!(alert, other, "a record must raise the same alert with and without prefilters");
                    check_alert(alert, spec);
                    self.alerts += 1;
                    let (_, closed) = self.incidents.add(alert, spec);
                    for incident in closed {
                        self.check_closed(&incident);
                    }
                }
                (verdict, unfiltered) => {
                    panic!("{}: {verdict:?} with prefilters, {unfiltered:?} without", spec.rule_id)
                }
            }
        }
    }

    fn check_closed(&mut self, incident: &Incident) {
        let package = RULES.packages().iter().find(|package| package.rule_id() == incident.alert.about.rule_id);
        check_incident(incident, package.expect("an incident is of one of the rules").spec());
        self.in_incidents += incident.count;
    }

    /// Checks the accounting at the end of the run.
    fn finish(mut self) {
        for incident in self.incidents.close_all() {
            self.check_closed(&incident);
        }
        assert_eq!(
            self.in_incidents + self.incidents.below_threshold(),
            self.alerts,
            "every alert must be in one incident"
        );
        let rules = self.accounting.rules();
        let counted: Vec<u64> =
            rules.iter().map(|rule| rule.alert + rule.excluded + rule.no_match + rule.skipped() + rule.fault).collect();
        assert_eq!(counted, self.subscribed, "every rule must have a verdict on each event that it subscribes to");
        assert_eq!(self.alerts, rules.iter().map(|rule| rule.alert).sum::<u64>());
    }
}

/// Checks a record's outcome against whether the record is JSON.
fn check_outcome(bytes: &[u8], outcome: &Outcome<'_>) {
    // `IgnoredAny` does not recurse, so it accepts any depth.
    let is_json = serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    let is_consistent = match outcome {
        Outcome::Evaluated(event) if event.malformed.iter().any(|path| path == Event::CUT_OFF) => true,
        Outcome::Evaluated(_) | Outcome::Rejected(Rejected::NoAuditEvent(_)) => is_json,
        // It may also be cut off, or have a prefix.
        Outcome::Ignored(_) => is_json || bytes.contains(&b'{'),
        Outcome::Rejected(Rejected::NotAnObject) => is_json && !bytes.trim_ascii_start().starts_with(b"{"),
        Outcome::Rejected(Rejected::NotJson(_) | Rejected::CutOff | Rejected::Utf16) => !is_json,
        Outcome::Rejected(Rejected::Empty) => bytes.trim_ascii().is_empty(),
        Outcome::Rejected(Rejected::NotUtf8 { at }) => {
            std::str::from_utf8(bytes).is_err_and(|error| error.valid_up_to() == *at)
        }
        Outcome::Rejected(Rejected::Tangled | Rejected::TooLong { .. }) => true,
    };
    assert!(is_consistent, "{outcome:?} of {}", bytes.escape_ascii());
}

/// Checks the output lines about a record.
fn check_lines(n: u64, record: &Record<'_>, judgement: &Judgement) {
    let place = record.place.to_string();
    let members = LedgerMembers::default();
    let line = ledger_line(members, &|| place.clone(), Some(DEFAULT_TENANT), record.bytes, judgement);
    let line = json_line(&line.numbered(n));
    assert_eq!(line["n"], n);
    let (outcome, has_reject_line) = match judgement {
        Judgement::Evaluated { malformed, .. } => ("evaluated", !malformed.is_empty()),
        Judgement::Ignored(_) => ("ignored", false),
        Judgement::Rejected(_) | Judgement::Unclaimed(_) => ("rejected", true),
    };
    assert_eq!(line["outcome"], outcome);
    assert_eq!(line["place"].as_str(), (outcome != "evaluated").then_some(&*place));
    assert_eq!(line["reason"].is_string(), outcome != "evaluated");
    let Some(line) = reject_line(&|| place.clone(), Some(DEFAULT_TENANT), true, record.bytes, judgement) else {
        assert!(!has_reject_line, "no line for {judgement:?}");
        return;
    };
    let line = line.numbered(n);
    assert!(has_reject_line, "{line}");
    let line = json_line(&line);
    assert_eq!((&line["n"], &line["place"]), (&n.into(), &place.into()));
    let kept = match (&line["record"], &line["record_base64"]) {
        (Value::String(text), Value::Null) => text.clone().into_bytes(),
        (Value::Null, Value::String(base64)) => BASE64_STANDARD.decode(base64).expect("the record is base64"),
        _ => panic!("{line}"),
    };
    if record.bytes.len() <= MAX_KEPT {
        assert_eq!(kept, record.bytes, "the line must have the whole record");
    } else {
        assert!(record.bytes.starts_with(&kept) && line["record_length"] == record.bytes.len());
    }
}
