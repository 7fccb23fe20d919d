//! Audit events of kube-apiserver (`audit.k8s.io`). EKS delivers them as they are, and AKS in `properties.log`.

use super::malformed::Malformed;
use super::object::{created_name, if_not_too_long, service_type};
use crate::event::{Event, ResponseStatus};
use crate::json::{self, Names, Text, Value, text_of};

/// The members of an audit event that are read, in the order in which an API server writes them.
pub(crate) const FIELDS: [&str; 14] = [
    "auditID",
    "stage",
    "requestURI",
    "verb",
    "user",
    "impersonatedUser",
    "sourceIPs",
    "userAgent",
    "objectRef",
    "responseStatus",
    "requestObject",
    "responseObject",
    "requestReceivedTimestamp",
    "stageTimestamp",
];

static OBJECT_REF: Names<'_, 5> = Names::new(["resource", "namespace", "name", "subresource", "apiGroup"]);

/// Whether an object without `kind` and `apiVersion` has the shape of an audit event.
pub(crate) fn is_event(fields: &[Option<Value<'_, '_>>; FIELDS.len()]) -> bool {
    let [audit_id, stage, request_uri, verb, user, ..] = *fields;
    let is_text = |value| text_of(value).is_some();
    is_text(audit_id) && is_text(stage) && (is_text(verb) || is_text(request_uri)) && user.is_some_and(Value::is_object)
}

/// Whether a cut-off object has any member of an audit event.
pub(crate) fn is_recognizable(fields: &[Option<Value<'_, '_>>; FIELDS.len()]) -> bool {
    fields.iter().any(Option::is_some)
}

/// Fills in an event from an audit event's [`FIELDS`]. `prefix` is the path to the audit event in its record.
pub(crate) fn fill<'a>(event: &mut Event<'a>, prefix: &'static str, fields: &[Option<Value<'a, '_>>; FIELDS.len()]) {
    let [
        audit_id,
        stage,
        request_uri,
        verb,
        user,
        impersonated,
        source_ips,
        user_agent,
        object_ref,
        response_status,
        request_object,
        response_object,
        received,
        stage_time,
    ] = *fields;
    let mut malformed = Malformed::under(prefix);
    let [username, groups, extra] =
        malformed.object("user", user, &const { Names::new(["username", "groups", "extra"]) });
    let [resource, namespace, name, subresource, api_group] = malformed.object("objectRef", object_ref, &OBJECT_REF);
    let [code] = malformed.object("responseStatus", response_status, &const { Names::new(["code"]) });

    event.source_ips = malformed.texts("sourceIPs", source_ips, true);
    event.stage = malformed.text("stage", stage);
    event.verb = malformed.text("verb", verb);
    event.username = malformed.text("user.username", username);
    event.user_groups = malformed.texts("user.groups", groups, false);
    event.user_arn = user_arn(extra);
    if impersonated.is_some() {
        impersonation(event, impersonated);
    }
    event.user_agent = malformed.text("userAgent", user_agent);
    event.resource = malformed.text("objectRef.resource", resource);
    event.subresource = text_of(subresource);
    event.api_group = text_of(api_group);
    event.namespace = malformed.text("objectRef.namespace", namespace);
    event.name =
        malformed.text("objectRef.name", name).or_else(|| created_name(event, request_object, response_object));
    event.request_uri = malformed.text("requestURI", request_uri);
    event.response_status =
        malformed.check("responseStatus.code", json::integer(code.map(Value::raw))).map(|code| ResponseStatus { code });
    event.service_type = service_type(request_object);
    event.stage_time = text_of(stage_time);
    event.event_time = text_of(received).or_else(|| event.stage_time.clone());
    event.audit_id = text_of(audit_id);
    event.request_object = if_not_too_long(request_object);
    event.malformed = malformed.into_paths();
}

/// Returns `extra.arn[0]`, if it is text.
fn user_arn<'a>(extra: Option<Value<'a, '_>>) -> Option<Text<'a>> {
    let [arn] = extra?.named(&const { Names::new(["arn"]) })?;
    text_of(arn?.items().next())
}

/// Fills in the impersonated user, which is never malformed.
#[cold]
fn impersonation<'a>(event: &mut Event<'a>, impersonated: Option<Value<'a, '_>>) {
    let [username, groups] =
        impersonated.and_then(|user| user.named(&const { Names::new(["username", "groups"]) })).unwrap_or_default();
    event.impersonated_user = text_of(username);
    event.impersonated_groups = json::texts(groups, false).present().unwrap_or_default().0;
}
