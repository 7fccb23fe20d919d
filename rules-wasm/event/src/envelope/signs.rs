//! What an object's members tell about it before it is read as a record.

use crate::event::LogType;
use crate::json::{Document, Names, Value};
use crate::scan::Tokens;

/// The members in which envelopes hold a list of records: `EventList` has `items`, Azure's diagnostics `records`,
/// CloudWatch's subscriptions `logEvents` and its API `events`, Cloud Logging's API `entries`, Pub/Sub
/// `receivedMessages`. No audit record has a member with one of these names at its top.
pub const LISTS: [&str; 6] = ["items", "records", "logEvents", "events", "entries", "receivedMessages"];

/// Whether an object has a member that records have. An object without one is not read as a record, so that searching
/// it stays cheap.
pub(super) fn has_signs(object: Value<'_, '_>) -> bool {
    const SIGNS: [&str; 13] = [
        "p_log_type",
        "apiVersion",
        "auditID",
        "category",
        "Category",
        "properties",
        "protoPayload",
        "protopayload_auditlog",
        "proto_payload",
        "AuditId",
        "Type",
        "eventSource",
        "involvedObject",
    ];
    object.named(&const { Names::new(SIGNS) }).is_some_and(|members| members.iter().any(Option::is_some))
}

/// What the items of an object's lists are, if the object says that it belongs to an API server's audit log.
pub(super) fn items_of(object: Value<'_, '_>) -> Option<LogType> {
    let [version] = object.named(&const { Names::new(["apiVersion"]) })?;
    let version = version?.string()?.unescaped();
    version.starts_with("audit.k8s.io/").then_some(LogType::Eks)
}

/// Whether an object says that it belongs to an API server's audit log, as the `EventList` of the audit webhook does.
/// Each item of its lists is an audit event.
#[must_use]
pub fn is_audit_list(object: &str) -> bool {
    let mut tokens = Tokens::default();
    Document::read(object, &mut tokens).is_some_and(|document| items_of(document.value()).is_some())
}

/// Whether a value is an object, a list, or a text that is long enough to hold a record.
pub(super) fn may_hold_record(value: Value<'_, '_>) -> bool {
    value.is_object() || value.is_list() || value.string().is_some_and(|string| string.text.len() >= 2)
}

/// Whether an object is a name and its value. A row of a query's result is a list of such objects.
pub(super) fn is_attribute(object: Value<'_, '_>) -> bool {
    let [value] = object.named(&const { Names::new(["value"]) }).unwrap_or_default();
    value.is_some() && object.named_values().count() <= 2
}
