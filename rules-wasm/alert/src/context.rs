//! Makes an alert's context readable by every JSON parser that reads the alert.

use std::borrow::Cow;
use std::fmt;

use portcullis_event::json;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Maximum nesting of a context. JSON parsers often stop at 128 levels, and some output formats nest the alert itself.
const MAX_DEPTH: usize = 100;

/// Returns a rule's context if common JSON parsers can read it, else an object with the context as text in its member
/// `unreadable`.
///
/// JSON's grammar allows contexts that parsers refuse: nested too deep, with a lone surrogate, or with a number out of
/// range. Such a context may contain the client's data, which must not suppress the alert.
///
/// # Errors
/// Fails if the context is not a JSON object.
pub fn readable_context(context: &str) -> serde_json::Result<Cow<'_, str>> {
    let mut deserializer = serde_json::Deserializer::from_str(context);
    let read = deserializer.deserialize_map(Readability { levels: MAX_DEPTH }).and_then(|()| deserializer.end());
    if read.is_ok() {
        return Ok(context.into());
    }
    let [] = json::members(context, [])?;
    Ok(format!("{{\"unreadable\":{}}}", serde_json::to_string(context)?).into())
}

/// A context as text on one line. As values, it would take up to forty times as much memory.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct ContextText(Box<RawValue>);

impl ContextText {
    /// Returns the text of a context with these members.
    ///
    /// # Panics
    /// Never: members are JSON.
    #[must_use]
    pub fn new(members: &Map<String, Value>) -> Self {
        Self(serde_json::value::to_raw_value(members).expect("members are JSON"))
    }

    /// Returns its members, which takes reading it.
    #[must_use]
    pub fn members(&self) -> Map<String, Value> {
        serde_json::from_str(self.as_str()).unwrap_or_default()
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for ContextText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// Checks that a value can be read, without keeping it.
struct Readability {
    /// Number of levels that the value may be nested.
    levels: usize,
}

impl Readability {
    fn nested<E: Error>(&self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { levels })
    }
}

impl<'de> DeserializeSeed<'de> for Readability {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Readability {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.nested()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_key_seed(Self { levels: 0 })?.is_some() {
            members.next_value_seed(self.nested()?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;

    #[test]
    fn an_unreadable_context_becomes_text() {
        let deep = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
        for context in ["{}", r#"{"a":[1,-2,3.5e7,"\ud83d\ude00",null,true,{"b":{}}]}"#, &deep(99)] {
            assert_eq!(readable_context(context).expect("an object"), context);
        }
        for context in [r#"{"a":"\ud800"}"#, r#"{"\udc00":1}"#, r#"{"a":1e999}"#, &deep(100), &deep(1000)] {
            let readable = readable_context(context).expect("an object");
            let members: Map<String, Value> = serde_json::from_str(&readable).expect("an object");
            assert_eq!(members, Map::from_iter([("unreadable".to_owned(), Value::from(context))]));
        }
        for context in ["", "[]", "5", "{", r#"{"a":1}}"#, "{a:1}"] {
            assert!(readable_context(context).is_err(), "{context}");
        }
    }
}
