//! The lines of the ledger and of the rejects.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use portcullis_event::{Rejected, json as reading};
use semver::Version;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::pipeline::{Judgement, Verdict, Verdicts};

/// A line about a record that has no number yet.
#[derive(Clone, Debug)]
pub struct LedgerLine(String);

/// The usual length of a line, in bytes.
const USUAL: usize = 384;

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

    /// Appends what [`numbered`](Self::numbered) returns to a text.
    pub fn write_numbered(&self, n: u64, text: &mut Vec<u8>) {
        text.extend_from_slice(format!("{{\"n\":{n},").as_bytes());
        text.extend_from_slice(self.0.as_bytes());
    }
}

/// The members of a line, added one by one: there is a line for each record, and it is made in one piece.
#[derive(Debug)]
pub struct LedgerMembers {
    text: Vec<u8>,
    has_place: bool,
}

impl Default for LedgerMembers {
    fn default() -> Self {
        Self { text: Vec::with_capacity(USUAL), has_place: false }
    }
}

impl LedgerMembers {
    /// Adds a member.
    pub(crate) fn add(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        let text = &mut self.text;
        serde_json::to_writer(&mut *text, name).expect("a vector takes all");
        text.push(b':');
        serde_json::to_writer(&mut *text, value).expect("a vector takes all, and keys are strings");
        text.push(b',');
    }

    /// Adds the place of the record, unless it is there.
    pub(crate) fn add_place(&mut self, place: &dyn Fn() -> String) {
        if !std::mem::replace(&mut self.has_place, true) {
            self.add("place", &place());
        }
    }

    /// Returns the line. There must be a member.
    fn end(self) -> LedgerLine {
        let mut text = self.text;
        *text.last_mut().expect("there is a member") = b'}';
        LedgerLine(String::from_utf8(text).expect("JSON is UTF-8"))
    }
}

/// The verdicts in a line.
struct OfRules<'v>(&'v Verdicts);

/// The verdict of a rule in a line.
#[derive(Serialize)]
struct OfRule<'v> {
    version: &'v Version,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Serialize for OfRules<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.all().map(|(package, verdict)| {
            let reason = match verdict {
                Verdict::Fault(fault) => Some(fault.to_string()),
                Verdict::Excluded { reason, .. } => Some(reason.to_string()),
                Verdict::Alert(_) | Verdict::NoMatch | Verdict::Skipped => None,
            };
            (package.rule_id(), OfRule { version: package.version(), verdict: verdict.as_str(), reason })
        }))
    }
}

/// Limit for records that are searched for the id of an unrecognized audit event, in bytes.
const MAX_SEARCHED: usize = 1 << 20;

/// Bytes that the rejects keep of a rejected record. An API server takes requests of 3 MiB.
pub const MAX_KEPT: usize = 4 << 20;

/// Limit for such an id, in bytes. An API server's ids have 36 characters, and it accepts at most 64.
const LONGEST_ID: usize = 128;

/// Returns a record's line in the ledger, which begins with these members. The tenant is null if the record does not
/// belong to exactly one. An ignored or rejected record has its place and the reason; an ignored record also has the id
/// of an audit event, if it seems to have one.
#[must_use]
pub fn ledger_line(
    mut line: LedgerMembers,
    place: &dyn Fn() -> String,
    tenant: Option<&str>,
    record: &[u8],
    judgement: &Judgement,
) -> LedgerLine {
    line.add("tenant", &tenant);
    let mut rejected = |reason: &dyn fmt::Display| {
        line.add("outcome", "rejected");
        line.add("reason", &reason.to_string());
        line.add_place(place);
    };
    match judgement {
        Judgement::Evaluated { malformed, verdicts } => {
            line.add("outcome", "evaluated");
            line.add("malformed", malformed);
            line.add("rules", &OfRules(verdicts));
        }
        Judgement::Ignored(ignored) => {
            line.add("outcome", "ignored");
            line.add("reason", &shortened(&ignored.to_string()));
            line.add_place(place);
            if let Some(id) = audit_id(record) {
                line.add("audit_id", &id);
            }
        }
        Judgement::Rejected(reason) => rejected(reason),
        Judgement::Unclaimed(reason) => rejected(reason),
    }
    line.end()
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

/// Returns a record's line in the rejects, if it is rejected, has malformed fields, made a rule fault, or belongs to a
/// tenant without rules. `place` says where the record came from. The record itself is in `record`, or in
/// `record_base64` if it is not UTF-8. Of a rejected record of more than 4 MiB it is the beginning, and
/// `record_length` has the length.
#[must_use]
pub fn reject_line(
    place: &dyn Fn() -> String,
    tenant: Option<&str>,
    has_rules: bool,
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
            let reasons = [
                (!malformed.is_empty(), "malformed"),
                (!faults.is_empty(), "fault"),
                (!has_rules, "the tenant has no active rule"),
            ];
            let reasons: Vec<&str> =
                reasons.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect();
            if reasons.is_empty() {
                return None;
            }
            let reason = reasons.join(", ");
            json!({
                "tenant": tenant, "outcome": "evaluated", "reason": reason, "malformed": malformed, "faults": faults,
                "place": place(),
            })
        }
        Judgement::Ignored(_) => return None,
        Judgement::Rejected(rejected) => rejection(place, tenant, rejected),
        Judgement::Unclaimed(unclaimed) => rejection(place, tenant, unclaimed),
    };
    let record = match judgement {
        Judgement::Rejected(Rejected::TooLong { length, .. }) => {
            line["record_length"] = (*length).into();
            whole_characters(record)
        }
        // An event is kept whole, so that it can be judged again.
        Judgement::Rejected(_) if record.len() > MAX_KEPT => {
            line["record_length"] = record.len().into();
            whole_characters(&record[..MAX_KEPT])
        }
        _ => record,
    };
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
