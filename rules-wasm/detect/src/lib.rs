//! Both rules in one, with all that the host does between a record and an alert: for programs that have no host.
//!
//! ```
//! use portcullis_detect::{Buffers, detect};
//!
//! let record = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create",
//!     "user":{"username":"ada"},"objectRef":{"resource":"services","namespace":"prod","name":"web"},
//!     "requestObject":{"spec":{"type":"NodePort"}}}"#;
//! let alerts = detect(record, &mut Buffers::default()).expect("an audit event");
//! assert_eq!(alerts[0].title, "NodePort service prod/web deployed by ada");
//! ```

mod filter;
mod look;
mod rules;

use std::convert::Infallible;
use std::fmt;

use portcullis_alert::{Alert, DEFAULT_TENANT};
use portcullis_event::envelope::{Decoded, Path, Search};
pub use portcullis_event::{Buffers, Ignored, Rejected};
use portcullis_event::{Event, LISTS, Outcome, json, normalize};

pub use filter::filter;
pub use look::may_match;
pub use rules::Context;
use rules::RULES;

/// Why a record was not shown to the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unjudged {
    /// It is no Kubernetes audit event.
    Ignored(Ignored),
    /// It is no record, but holds many, in this member: they are to be taken out first.
    Wrapping(&'static str),
    /// It cannot be read.
    Rejected(Rejected),
}

impl fmt::Display for Unjudged {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored(ignored) => ignored.fmt(formatter),
            Self::Wrapping(list) => {
                write!(formatter, "not a record, but a list of them in {list}: take them out first")
            }
            Self::Rejected(rejected) => rejected.fmt(formatter),
        }
    }
}

/// An alert as JSON: one object on one line.
#[must_use]
pub fn to_json(alert: &Alert<Context>) -> String {
    // Texts, numbers and what is JSON already have no way not to be JSON.
    serde_json::to_string(alert).unwrap_or_default()
}

/// The alerts of a record of EKS, AKS or GKE, in the order of the rules' ids: those that the host would give, for the
/// tenant [`DEFAULT_TENANT`].
///
/// # Errors
/// It is ignored or rejected.
pub fn detect(record: &[u8], buffers: &mut Buffers) -> Result<Vec<Alert<Context>>, Unjudged> {
    let event = match normalize(record, buffers) {
        Outcome::Evaluated(event) => event,
        Outcome::Ignored(ignored) => return Err(list(record).map_or(Unjudged::Ignored(ignored), Unjudged::Wrapping)),
        Outcome::Rejected(rejected) => return Err(Unjudged::Rejected(rejected)),
    };
    Ok(answers(&event).collect())
}

/// The alerts of a record, or where it is none, of all records that are in it: in members and lists, and in texts of JSON. Base64 is
/// not looked into.
///
/// # Errors
/// There is no record: what it is itself.
pub fn detect_inside(record: &[u8], buffers: &mut Buffers) -> Result<Vec<Alert<Context>>, Unjudged> {
    let unjudged = match detect(record, buffers) {
        Err(
            unjudged @ (Unjudged::Ignored(Ignored::Shape)
            | Unjudged::Wrapping(_)
            | Unjudged::Rejected(Rejected::NotAnObject | Rejected::NotJson(_) | Rejected::CutOff)),
        ) => unjudged,
        judged => return judged,
    };
    *buffers = Buffers::default();
    let text = std::str::from_utf8(record).unwrap_or_default();
    let mut alerts = Vec::new();
    let mut no_base64 = |_: &str, _: usize| Decoded::Nothing;
    let mut each = |_: &[u8], _: &Path<'_>, outcome: Outcome<'_>| {
        if let Outcome::Evaluated(event) = outcome {
            alerts.extend(answers(&event));
        }
        Ok::<(), Infallible>(())
    };
    let Ok(found) = Search::new(&mut no_base64, 0, &mut each).run(text);
    if found { Ok(alerts) } else { Err(unjudged) }
}

/// The alerts of an event.
fn answers(event: &Event<'_>) -> impl Iterator<Item = Alert<Context>> {
    let answers = RULES.iter().filter_map(|rule| Some((rule, rule.evaluate(event)?)));
    answers.map(|(rule, answer)| Alert::new(rule.about(), answer, event, DEFAULT_TENANT))
}

/// The member in which a wrapping holds its records.
fn list(wrapping: &[u8]) -> Option<&'static str> {
    let members = json::members(std::str::from_utf8(wrapping).ok()?, LISTS).ok()?;
    let mut lists = LISTS.into_iter().zip(members);
    lists.find_map(|(name, value)| value.is_some_and(|value| value.get().starts_with('[')).then_some(name))
}
