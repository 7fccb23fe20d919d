//! Recognizing the kind of a record.

use super::category::audit_category;
use super::outcome::{Ignored, Outcome};
use super::{audit, tables};
use crate::event::LogType;
use crate::json::{self, Read, Value, text_of};

/// Reads `p_log_type`. `None` if it is absent.
///
/// # Errors
/// It is another log type, or not text.
pub(crate) fn known_log_type(value: Option<Value<'_, '_>>) -> Result<Option<LogType>, Ignored> {
    match json::one_text(value) {
        Read::Absent => Ok(None),
        Read::Present(name) => match LogType::named(&name) {
            Some(log_type) => Ok(Some(log_type)),
            None => Err(Ignored::LogType(format!("{:?}", &*name))),
        },
        Read::Malformed => Err(Ignored::LogType("not text".to_owned())),
    }
}

/// Recognizes a record by its shape: by the members that its cloud writes.
pub(crate) fn log_type_of_shape(
    kind: Option<Value<'_, '_>>,
    api_version: Option<Value<'_, '_>>,
    category: Option<Value<'_, '_>>,
    payload: Option<Value<'_, '_>>,
    fields: &[Option<Value<'_, '_>>; audit::FIELDS.len()],
) -> Option<LogType> {
    let is = |value, expected: fn(&str) -> bool| text_of(value).is_some_and(|text| expected(&text));
    if is(kind, |kind| kind == "Event") && is(api_version, |version| version.starts_with("audit.k8s.io/")) {
        Some(LogType::Eks)
    } else if audit_category(category).is_ok() {
        Some(LogType::Aks)
    } else if payload.is_some_and(Value::is_object) {
        Some(LogType::Gke)
    } else {
        let is_absent = |value: Option<Value<'_, '_>>| value.is_none_or(Value::is_absent);
        (is_absent(kind) && is_absent(api_version) && audit::is_event(fields)).then_some(LogType::Eks)
    }
}

/// Whether an item of a list of audit events does not say that it is something else.
#[cold]
pub(crate) fn says_nothing_else(
    item: Value<'_, '_>,
    kind: Option<Value<'_, '_>>,
    api_version: Option<Value<'_, '_>>,
) -> bool {
    let allows = |value: Option<Value<'_, '_>>, expected: fn(&str) -> bool| match value {
        Some(value) if !value.is_absent() => text_of(Some(value)).is_some_and(|text| expected(&text)),
        _ => true,
    };
    allows(kind, |kind| kind == "Event")
        && allows(api_version, |version| version.starts_with("audit.k8s.io/"))
        && matches!(tables::no_row(item, None), Outcome::Ignored(Ignored::Shape))
}
