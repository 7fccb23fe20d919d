//! What is said in an alert's context, in a form that whoever reads the alert can take.

use std::borrow::Cow;
use std::fmt;

use portcullis_event::json;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How deep a context may be nested: readers of JSON stop at 128 levels, and an alert stands several deep in some formats.
const MAX_DEPTH: usize = 100;

/// The context that a rule has written. One that JSON's grammar lets pass and readers do not (nested too deep, a lone
/// surrogate, a number out of range) may be the client's own data: it must not cost the match, and stands as text in the
/// member `unreadable`.
///
/// # Errors
/// It is not a JSON object.
pub fn readable_context(context: &str) -> serde_json::Result<Cow<'_, str>> {
    let mut deserializer = serde_json::Deserializer::from_str(context);
    let read = deserializer.deserialize_map(Readable(MAX_DEPTH)).and_then(|()| deserializer.end());
    if read.is_ok() {
        return Ok(context.into());
    }
    let [] = json::members(context, [])?;
    Ok(format!("{{\"unreadable\":{}}}", serde_json::to_string(context)?).into())
}

/// Reads a value as others do, and keeps nothing of it. It may be nested so many levels.
struct Readable(usize);

impl Readable {
    fn inside<E: Error>(&self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("nested too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Readable {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Readable {
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
        while items.next_element_seed(self.inside()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_key_seed(Self(0))?.is_some() {
            members.next_value_seed(self.inside()?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;

    #[test]
    fn what_readers_do_not_take_stands_as_text() {
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
