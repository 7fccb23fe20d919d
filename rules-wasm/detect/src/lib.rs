//! Turns records into alerts without a Portcullis host: contains the normalization, both rules and what the host does
//! to make an alert.
//!
//! ```
//! use portcullis_detect::{Buffers, detect};
//!
//! let record = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create",
//!     "user":{"username":"ada"},"objectRef":{"resource":"services","namespace":"prod","name":"web"},
//!     "requestObject":{"spec":{"type":"NodePort"}}}"#;
//! let alerts = detect(record, &mut Buffers::default()).expect("the record is an audit event");
//! assert_eq!(alerts[0].title, "NodePort service prod/web deployed by ada");
//! ```

mod filter;
mod prescan;
mod rules;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use portcullis_alert::{Alert, DEFAULT_TENANT};
use portcullis_event::envelope::{Decoded, Path, Search};
pub use portcullis_event::{Buffers, Ignored, Rejected};
use portcullis_event::{Event, LISTS, Outcome, json, normalize};

pub use filter::filter;
pub use prescan::may_match;
use rules::RULES;

/// The reason why the rules did not evaluate a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotEvaluated {
    /// The record is not a Kubernetes audit event.
    Ignored(Ignored),
    /// The input is an envelope that has a list of records in this member. Pass each record on its own.
    Envelope(&'static str),
    /// The record cannot be read.
    Rejected(Rejected),
}

impl fmt::Display for NotEvaluated {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored(ignored) => ignored.fmt(formatter),
            Self::Envelope(list) => {
                write!(formatter, "not a record, but a list of them in {list}: take them out first")
            }
            Self::Rejected(rejected) => rejected.fmt(formatter),
        }
    }
}

/// Returns an alert as JSON: one object on one line.
#[must_use]
pub fn to_json(alert: &Alert) -> String {
    // Writing texts, numbers and raw JSON to memory cannot fail.
    serde_json::to_string(alert).unwrap_or_default()
}

/// Returns the alerts of a record of EKS, AKS or GKE, in the order of the rules' ids. They are the alerts that the host
/// returns for the tenant [`DEFAULT_TENANT`].
///
/// # Errors
/// Fails if the record is ignored or rejected.
pub fn detect(record: &[u8], buffers: &mut Buffers) -> Result<Vec<Alert>, NotEvaluated> {
    let event = match normalize(record, buffers) {
        Outcome::Evaluated(event) => event,
        Outcome::Ignored(ignored) => {
            return Err(list_member(record).map_or(NotEvaluated::Ignored(ignored), NotEvaluated::Envelope));
        }
        Outcome::Rejected(rejected) => return Err(NotEvaluated::Rejected(rejected)),
    };
    Ok(evaluate(&event).collect())
}

/// Returns the alerts of a record, or of all records in an envelope: in its members, its lists and its texts of JSON.
/// Does not decode base64.
///
/// # Errors
/// Fails if no record is found, with the reason why the input itself is not one.
pub fn detect_inside(record: &[u8], buffers: &mut Buffers) -> Result<Vec<Alert>, NotEvaluated> {
    let not_evaluated = match detect(record, buffers) {
        Err(
            not_evaluated @ (NotEvaluated::Ignored(Ignored::Shape)
            | NotEvaluated::Envelope(_)
            | NotEvaluated::Rejected(Rejected::NotAnObject | Rejected::NotJson(_) | Rejected::CutOff)),
        ) => not_evaluated,
        result => return result,
    };
    *buffers = Buffers::default();
    let text = std::str::from_utf8(record).unwrap_or_default();
    let mut alerts = Vec::new();
    let mut no_base64 = |_: &str, _: usize| Decoded::Nothing;
    let mut each = |_: &[u8], _: &Path<'_>, outcome: Outcome<'_>| {
        if let Outcome::Evaluated(event) = outcome {
            alerts.extend(evaluate(&event));
        }
        Ok::<(), Infallible>(())
    };
    let Ok(found) = Search::new(&mut no_base64, 0, &mut each).run(text);
    if found { Ok(alerts) } else { Err(not_evaluated) }
}

/// Evaluates both rules on an event, and returns the alerts.
fn evaluate(event: &Event<'_>) -> impl Iterator<Item = Alert> {
    let answers = RULES.iter().filter_map(|rule| Some((rule, rule.evaluate(event)?)));
    answers.map(|(rule, answer)| Alert::new(Arc::clone(rule.about()), answer, event, DEFAULT_TENANT))
}

/// Returns the name of the member that holds an envelope's list of records.
fn list_member(envelope: &[u8]) -> Option<&'static str> {
    let members = json::members(std::str::from_utf8(envelope).ok()?, LISTS).ok()?;
    let mut lists = LISTS.into_iter().zip(members);
    lists.find_map(|(name, value)| value.is_some_and(|value| value.get().starts_with('[')).then_some(name))
}
