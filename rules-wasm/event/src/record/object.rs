//! The object in a request.

use crate::event::Event;
use crate::json::{Names, Raw, Text, Value, text_of};

/// Returns the name of a created object, which is not in the request's path: the name that the client sent, or else the
/// one that the API server made from `generateName`.
pub(crate) fn created_name<'a>(
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

/// Returns the object, if it is not too long for rules.
pub(crate) fn if_not_too_long<'a>(request_object: Option<Value<'a, '_>>) -> Option<Raw<'a>> {
    request_object.map(Value::raw).filter(|object| object.get().len() <= Event::MAX_REQUEST_OBJECT)
}

/// Returns `spec.type` of the object. It is the client's data, and so never malformed.
pub(crate) fn service_type<'a>(request_object: Option<Value<'a, '_>>) -> Option<Text<'a>> {
    let [spec] = request_object?.named(&const { Names::new(["spec"]) })?;
    let [service_type] = spec?.named(&const { Names::new(["type"]) })?;
    text_of(service_type)
}
