//! What a record says of the object that was sent.

use crate::event::Event;
use crate::json::{Names, Raw, Text, Value, text_of};

/// The name of a created object that the request's path does not say: what the client called it, else what the API
/// server made of its `generateName`.
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
