//! The bytes of an input, from decompression to what is written about each record.

use std::io::{self, Read};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use portcullis::read::{Documents, Record, Records, decompressed};
use portcullis::vectors::pretty;
use portcullis::{
    Accounting, DEFAULT_TENANT, Incident, Incidents, Judge, Judgement, Limits, RuleSet, Verdict, Verdicts, embedded,
    ledger_line, reject_line,
};
use portcullis_event::{Buffers, Event, Ignored, Outcome, Rejected, normalize};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::component::ENGINE;
use super::output::{NOW, check_alert, check_incident, json_line};

/// So much of what is decompressed is read: a few bytes can be gigabytes, which costs time and finds nothing.
const MOST: u64 = 256 << 10;

/// Ten times the usual time, so that no rule faults for a slow or busy machine.
const TIME: Duration = Duration::from_millis(100);

static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    let packages = embedded::packages(&ENGINE).expect("the embedded rules load");
    Arc::new(RuleSet::new(packages).expect("two rules"))
});

/// Reads the bytes as an input file, and judges its records.
pub(crate) fn record(data: &[u8]) {
    let Ok(input) = decompressed(Box::new(io::Cursor::new(data.to_vec()))) else { return };
    let mut run = Run::new();
    let mut seen = Vec::new();
    read(input.take(MOST), |record, outcome| {
        seen.push(described(record));
        run.record(record, outcome);
    });
    run.finish();

    let is_line = data.len() as u64 <= MOST && !data.contains(&b'\n');
    if is_line && matches!(normalize(data, &mut Buffers::default()), Outcome::Evaluated(_)) {
        let line = data.trim_ascii_end().escape_ascii();
        assert_eq!(seen, [format!("1: {line}")], "a line that is a record is that record");
    }

    if let Some(data) = plain(data) {
        let mut again = Vec::new();
        let step = 1 + data.len() % 61;
        read(Trickle { data, at: 0, step }, |record, _| again.push(described(record)));
        assert_eq!(seen, again, "however the bytes arrive, here {step} at a time, the records are the same");
    }
}

fn described(record: &Record<'_>) -> String {
    format!("{}: {}", record.place, record.bytes.escape_ascii())
}

/// The bytes without their compression, unless that is broken: where that shows depends on how much is read at once.
fn plain(data: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    decompressed(Box::new(io::Cursor::new(data.to_vec()))).ok()?.take(MOST).read_to_end(&mut plain).ok()?;
    Some(plain)
}

/// Shows each record of an input.
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

/// An input whose bytes arrive a few at a time.
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

/// A run of the command, and what its account must come to.
struct Run {
    judge: Judge,
    asking_always: Judge,
    accounting: Accounting,
    incidents: Incidents,
    /// For each rule the events that it subscribes to.
    subscribed: Vec<u64>,
    alerts: u64,
    in_incidents: u64,
}

impl Run {
    fn new() -> Self {
        let limits = Limits { time: TIME, ..Limits::default() };
        let judge = || Judge::new(Arc::clone(&RULES), limits);
        Self {
            judge: judge(),
            asking_always: judge().without_prefilters(),
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
        assert_eq!(self.accounting.read(), n + 1, "every record has one outcome");
        check_lines(n, record, &judgement);

        let alone = self.asking_always.record(record.bytes);
        match (&judgement, &alone) {
            (
                Judgement::Evaluated { malformed, verdicts },
                Judgement::Evaluated { malformed: malformed_alone, verdicts: verdicts_alone },
            ) => {
                // Where an envelope was closed only it knows.
                let own = |paths: &[String]| paths.iter().filter(|path| **path != Event::CUT_OFF).count();
                assert_eq!(own(malformed), own(malformed_alone));
                self.verdicts(verdicts, verdicts_alone);
            }
            // That a text speaks of an audit event, only its search says.
            (Judgement::Ignored(Ignored::Suspect { reason, .. }), Judgement::Ignored(alone)) => {
                assert_eq!(**reason, *alone);
            }
            // That an item is an audit event, the list around it may say; what stands behind a prefix is no record alone; and what
            // takes too long or is too long in a search, is neither by itself.
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
            self.over(&incident);
        }
    }

    /// `asked` is what the rules say without their prefilters.
    fn verdicts(&mut self, verdicts: &Verdicts, asked: &Verdicts) {
        assert_eq!(verdicts.all().count(), asked.all().count());
        assert!(verdicts.asked().iter().all(|verdict| verdict.notices.is_empty()));
        for ((package, verdict), (also, asked)) in verdicts.all().zip(asked.all()) {
            assert_eq!(package, also);
            let spec = package.spec();
            match (verdict, asked) {
                (Verdict::NoMatch | Verdict::Skipped, Verdict::NoMatch) => {}
                (Verdict::Alert(alert), Verdict::Alert(other)) => {
                    assert_eq!(alert, other, "one record has one alert");
                    check_alert(alert, spec);
                    self.alerts += 1;
                    let (_, made_room) = self.incidents.add(alert, spec);
                    for incident in made_room {
                        self.over(&incident);
                    }
                }
                (verdict, asked) => panic!("{}: {verdict:?}, and asked always {asked:?}", spec.rule_id),
            }
        }
    }

    fn over(&mut self, incident: &Incident) {
        let package = RULES.packages().iter().find(|package| package.rule_id() == incident.alert.rule_id);
        check_incident(incident, package.expect("one of the rules").spec());
        self.in_incidents += incident.count;
    }

    /// The account closes.
    fn finish(mut self) {
        for incident in self.incidents.close_all() {
            self.over(&incident);
        }
        assert_eq!(self.in_incidents + self.incidents.below_threshold(), self.alerts, "every alert is in one incident");
        let rules = self.accounting.rules();
        let counted: Vec<u64> =
            rules.iter().map(|rule| rule.alert + rule.excluded + rule.no_match + rule.skipped() + rule.fault).collect();
        assert_eq!(counted, self.subscribed, "every rule has a verdict on what it subscribes to");
        assert_eq!(self.alerts, rules.iter().map(|rule| rule.alert).sum::<u64>());
    }
}

/// A record's outcome, against what JSON says about it.
fn check_outcome(bytes: &[u8], outcome: &Outcome<'_>) {
    // It skips without recursing, and so takes any depth.
    let is_json = serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    let right = match outcome {
        Outcome::Evaluated(event) if event.malformed.iter().any(|path| path == Event::CUT_OFF) => true,
        Outcome::Evaluated(_) | Outcome::Rejected(Rejected::NoAuditEvent(_)) => is_json,
        // Or its end is missing, or it stands behind a prefix.
        Outcome::Ignored(_) => is_json || bytes.contains(&b'{'),
        Outcome::Rejected(Rejected::NotAnObject) => is_json && !bytes.trim_ascii_start().starts_with(b"{"),
        Outcome::Rejected(Rejected::NotJson(_) | Rejected::CutOff | Rejected::Utf16) => !is_json,
        Outcome::Rejected(Rejected::Empty) => bytes.trim_ascii().is_empty(),
        Outcome::Rejected(Rejected::NotUtf8 { at }) => {
            std::str::from_utf8(bytes).is_err_and(|error| error.valid_up_to() == *at)
        }
        Outcome::Rejected(Rejected::Tangled | Rejected::TooLong { .. }) => true,
    };
    assert!(right, "{outcome:?} of {}", bytes.escape_ascii());
}

/// What is written down about a record.
fn check_lines(n: u64, record: &Record<'_>, judgement: &Judgement) {
    let place = record.place.to_string();
    let line = ledger_line(&|| place.clone(), Some(DEFAULT_TENANT), record.bytes, judgement);
    let line = json_line(&line.numbered(n));
    assert_eq!(line["n"], n);
    let (outcome, wrong) = match judgement {
        Judgement::Evaluated { malformed, .. } => ("evaluated", !malformed.is_empty()),
        Judgement::Ignored(_) => ("ignored", false),
        Judgement::Rejected(_) | Judgement::Unowned(_) => ("rejected", true),
    };
    assert_eq!(line["outcome"], outcome);
    assert_eq!(line["place"].as_str(), (outcome != "evaluated").then_some(&*place));
    assert_eq!(line["reason"].is_string(), outcome != "evaluated");
    let Some(line) = reject_line(&|| place.clone(), Some(DEFAULT_TENANT), record.bytes, judgement) else {
        assert!(!wrong, "no line for {judgement:?}");
        return;
    };
    let line = line.numbered(n);
    assert!(wrong, "{line}");
    let line = json_line(&line);
    assert_eq!((&line["n"], &line["place"]), (&n.into(), &place.into()));
    let kept = match (&line["record"], &line["record_base64"]) {
        (Value::String(text), Value::Null) => text.clone().into_bytes(),
        (Value::Null, Value::String(base64)) => BASE64_STANDARD.decode(base64).expect("base64"),
        _ => panic!("{line}"),
    };
    assert_eq!(kept, record.bytes, "nothing is lost");
}
