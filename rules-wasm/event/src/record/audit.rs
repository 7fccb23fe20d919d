//! kube-apiserver audit events (`audit.k8s.io`), which EKS delivers as they are and AKS inside `properties.log`.

use crate::event::{Event, ResponseStatus};
use crate::json::{self, Names, Raw, Read, Text, Value, text_of};

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

/// Whether an object without `kind` and `apiVersion` has an audit event's own shape.
pub(crate) fn is_event(fields: &[Option<Value<'_, '_>>; FIELDS.len()]) -> bool {
    let [audit_id, stage, request_uri, verb, user, ..] = *fields;
    let is_text = |value| text_of(value).is_some();
    is_text(audit_id) && is_text(stage) && (is_text(verb) || is_text(request_uri)) && user.is_some_and(Value::is_object)
}

/// Whether anything of an audit event whose end is missing tells what it is.
pub(crate) fn is_recognizable(fields: &[Option<Value<'_, '_>>; FIELDS.len()]) -> bool {
    fields.iter().any(Option::is_some)
}

/// Notes the fields of a wrong type, under the place of the audit event in its record.
pub(crate) struct Malformed<'a> {
    prefix: &'static str,
    paths: Vec<Text<'a>>,
}

impl<'a> Malformed<'a> {
    pub(crate) fn under(prefix: &'static str) -> Self {
        Self { prefix, paths: Vec::new() }
    }

    pub(crate) fn into_paths(self) -> Vec<Text<'a>> {
        self.paths
    }

    pub(crate) fn note(&mut self, path: &'static str) {
        let prefix = self.prefix;
        self.paths.push(if prefix.is_empty() { path.into() } else { format!("{prefix}.{path}").into() });
    }

    /// What was read, if it is there; notes the path if it is malformed.
    pub(crate) fn check<T>(&mut self, path: &'static str, read: Read<T>) -> Option<T> {
        if matches!(read, Read::Malformed) {
            self.note(path);
        }
        read.present()
    }

    pub(crate) fn text<'r>(&mut self, path: &'static str, value: Option<Value<'r, '_>>) -> Option<Text<'r>> {
        self.check(path, json::one_text(value))
    }

    /// The members of an object; none of them if it is malformed.
    pub(crate) fn object<'r, 't, const N: usize>(
        &mut self,
        path: &'static str,
        value: Option<Value<'r, 't>>,
        names: &Names<'_, N>,
    ) -> [Option<Value<'r, 't>>; N] {
        self.check(path, json::named(value, names)).unwrap_or([None; N])
    }

    pub(crate) fn texts<'r>(
        &mut self,
        path: &'static str,
        value: Option<Value<'r, '_>>,
        lone_text: bool,
    ) -> Vec<Text<'r>> {
        let (texts, dropped) = self.check(path, json::texts(value, lone_text)).unwrap_or_default();
        if dropped {
            self.note(path);
        }
        texts
    }
}

/// Fills in what an audit event's [`FIELDS`] say, which stand under `prefix` in their record.
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
    event.name = malformed.text("objectRef.name", name).or_else(|| created(event, request_object, response_object));
    event.request_uri = malformed.text("requestURI", request_uri);
    event.response_status =
        malformed.check("responseStatus.code", json::integer(code.map(Value::raw))).map(|code| ResponseStatus { code });
    event.service_type = service_type(request_object);
    event.stage_time = text_of(stage_time);
    event.event_time = text_of(received).or_else(|| event.stage_time.clone());
    event.audit_id = text_of(audit_id);
    event.request_object = shown(request_object);
    event.malformed = malformed.into_paths();
}

/// `extra.arn[0]`, if it is text.
fn user_arn<'a>(extra: Option<Value<'a, '_>>) -> Option<Text<'a>> {
    let [arn] = extra?.named(&const { Names::new(["arn"]) })?;
    text_of(arn?.items().next())
}

/// Whom the user acted as: never malformed.
#[cold]
fn impersonation<'a>(event: &mut Event<'a>, impersonated: Option<Value<'a, '_>>) {
    let [username, groups] =
        impersonated.and_then(|user| user.named(&const { Names::new(["username", "groups"]) })).unwrap_or_default();
    event.impersonated_user = text_of(username);
    event.impersonated_groups = json::texts(groups, false).present().unwrap_or_default().0;
}

/// The name of a created object that the request's path does not say: what the client called it, else what the API server
/// made of its `generateName`.
pub(crate) fn created<'a>(
    event: &Event<'a>,
    sent: Option<Value<'a, '_>>,
    stored: Option<Value<'a, '_>>,
) -> Option<Text<'a>> {
    let name = |object: Option<Value<'a, '_>>| {
        let [metadata] = object?.named(&const { Names::new(["metadata"]) })?;
        let [name] = metadata?.named(&const { Names::new(["name"]) })?;
        text_of(name)
    };
    let is_created = event.verb.as_deref() == Some("create") && event.subresource.is_none();
    is_created.then(|| name(sent).or_else(|| name(stored))).flatten()
}

/// The object sent, if it is not too long for rules.
pub(crate) fn shown<'a>(request_object: Option<Value<'a, '_>>) -> Option<Raw<'a>> {
    request_object.map(Value::raw).filter(|object| object.get().len() <= Event::MAX_REQUEST_OBJECT)
}

/// `spec.type` of the object sent: the client's own data, never malformed.
pub(crate) fn service_type<'a>(request_object: Option<Value<'a, '_>>) -> Option<Text<'a>> {
    let [spec] = request_object?.named(&const { Names::new(["spec"]) })?;
    let [service_type] = spec?.named(&const { Names::new(["type"]) })?;
    text_of(service_type)
}
