//! The lines of the ledger and of the rejects.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use portcullis_event::{Rejected, json as reading};
use serde_json::{Map, Value, json};

use crate::pipeline::{Judgement, Verdict};

/// A line about a record that has no number yet.
#[derive(Clone, Debug)]
pub struct LedgerLine(String);

impl LedgerLine {
    /// Returns a line with this object, which is not empty.
    ///
    /// # Panics
    /// The value is not an object, or is empty.
    #[must_use]
    pub fn new(line: &Value) -> Self {
        assert!(line.as_object().is_some_and(|members| !members.is_empty()), "a line is an object: {line}");
        let line = line.to_string();
        // Without the opening brace, so that members can be added before.
        Self(line[1..].to_owned())
    }

    /// Returns the line with another member at the beginning.
    #[must_use]
    pub fn with(self, name: &str, value: &Value) -> Self {
        Self(format!("{}:{value},{}", Value::from(name), self.0))
    }

    /// Returns its approximate length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no line is empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the line as JSON without a line end; `n` counts records from 0.
    #[must_use]
    pub fn numbered(&self, n: u64) -> String {
        format!("{{\"n\":{n},{}", self.0)
    }
}

/// Limit for records that are searched for the id of an unrecognized audit event, in bytes.
const MAX_SEARCHED: usize = 1 << 20;

/// Limit for such an id, in bytes. An API server's ids have 36 characters, and it accepts at most 64.
const LONGEST_ID: usize = 128;

/// Returns a record's line in the ledger. The tenant is null if the record does not belong to exactly one. An ignored
/// or rejected record has its place and the reason; an ignored record also has the id of an audit event, if it seems to
/// have one.
#[must_use]
pub fn ledger_line(
    place: &dyn Fn() -> String,
    tenant: Option<&str>,
    record: &[u8],
    judgement: &Judgement,
) -> LedgerLine {
    LedgerLine::new(&match judgement {
        Judgement::Evaluated { malformed, verdicts } => {
            let verdicts: Map<String, Value> = verdicts
                .all()
                .map(|(package, verdict)| {
                    let mut entry = json!({"version": package.version().to_string(), "verdict": verdict.as_str()});
                    match verdict {
                        Verdict::Fault(fault) => entry["reason"] = fault.to_string().into(),
                        Verdict::Excluded { reason, .. } => entry["reason"] = reason.to_string().into(),
                        Verdict::Alert(_) | Verdict::NoMatch | Verdict::Skipped => {}
                    }
                    (package.rule_id().to_owned(), entry)
                })
                .collect();
            json!({"tenant": tenant, "outcome": "evaluated", "malformed": malformed, "rules": verdicts})
        }
        Judgement::Ignored(ignored) => {
            let reason = shortened(&ignored.to_string());
            let mut line = json!({"tenant": tenant, "outcome": "ignored", "reason": reason, "place": place()});
            if let Some(id) = audit_id(record) {
                line["audit_id"] = id.into();
            }
            line
        }
        Judgement::Rejected(rejected) => rejection(place, tenant, rejected),
        Judgement::Unclaimed(unclaimed) => rejection(place, tenant, unclaimed),
    })
}

fn rejection(place: &dyn Fn() -> String, tenant: Option<&str>, reason: &impl fmt::Display) -> Value {
    json!({"tenant": tenant, "outcome": "rejected", "reason": reason.to_string(), "place": place()})
}

/// Returns the text of the top-level member that is an audit event's id, with the names that API servers and Azure's
/// tables use.
fn audit_id(record: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(record).ok().filter(|text| text.len() <= MAX_SEARCHED)?;
    let ids = reading::members(text, ["auditID", "AuditId"]).ok()?;
    let ids = ids.into_iter().filter_map(|id| reading::text(id).present());
    ids.map(|id| id.to_string()).find(|id| id.len() <= LONGEST_ID)
}

/// Returns the beginning of a reason, which may contain client data.
#[must_use]
pub fn shortened(reason: &str) -> String {
    const LONGEST: usize = 300;
    match reason.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

/// Returns a record's line in the rejects, if it is rejected, has malformed fields, or made a rule fault. `place` says
/// where the record came from. The record itself is in `record`, or in `record_base64` if it is not UTF-8.
#[must_use]
pub fn reject_line(
    place: &dyn Fn() -> String,
    tenant: Option<&str>,
    record: &[u8],
    judgement: &Judgement,
) -> Option<LedgerLine> {
    let mut line = match judgement {
        Judgement::Evaluated { malformed, verdicts } => {
            let faults: Vec<Value> = verdicts
                .judged()
                .iter()
                .filter_map(|verdict| match &verdict.verdict {
                    Verdict::Fault(fault) => {
                        let (id, version) = (verdict.package.rule_id(), verdict.package.version().to_string());
                        Some(json!({"rule_id": id, "rule_version": version, "reason": fault.to_string()}))
                    }
                    Verdict::Alert(_) | Verdict::Excluded { .. } | Verdict::NoMatch | Verdict::Skipped => None,
                })
                .collect();
            let reason = match (malformed.is_empty(), faults.is_empty()) {
                (true, true) => return None,
                (false, true) => "malformed",
                (true, false) => "fault",
                (false, false) => "malformed, fault",
            };
            json!({
                "tenant": tenant, "outcome": "evaluated", "reason": reason, "malformed": malformed, "faults": faults,
                "place": place(),
            })
        }
        Judgement::Ignored(_) => return None,
        Judgement::Rejected(rejected) => rejection(place, tenant, rejected),
        Judgement::Unclaimed(unclaimed) => rejection(place, tenant, unclaimed),
    };
    let cut = matches!(judgement, Judgement::Rejected(Rejected::TooLong { .. }));
    let record = if cut { whole_characters(record) } else { record };
    match std::str::from_utf8(record) {
        Ok(text) => line["record"] = text.into(),
        Err(_) => line["record_base64"] = BASE64_STANDARD.encode(record).into(),
    }
    Some(LedgerLine::new(&line))
}

/// Returns the beginning of a record without the incomplete character at its end.
fn whole_characters(cut: &[u8]) -> &[u8] {
    match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => &cut[..error.valid_up_to()],
        _ => cut,
    }
}
