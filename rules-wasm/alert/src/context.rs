//! Makes an alert's context readable by every JSON parser that reads the alert.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use portcullis_event::json::{self, Raw};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
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
fn readable_context(context: &str) -> serde_json::Result<Cow<'_, str>> {
    let mut deserializer = serde_json::Deserializer::from_str(context);
    let reading = Reading { written: None, levels: MAX_DEPTH };
    let read = deserializer.deserialize_map(reading).and_then(|()| deserializer.end());
    if read.is_ok() {
        return Ok(context.into());
    }
    let [] = json::members(context, [])?;
    Ok(unreadable(context).into())
}

/// Returns an object with a context as text.
fn unreadable(context: &str) -> String {
    let mut object = "{\"unreadable\":".to_owned();
    json::write_text(context, &mut object);
    object.push('}');
    object
}

/// A context as text on one line: without white space between its tokens, each key once, and numbers and characters in
/// one spelling. As values, it would take up to forty times as much memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextText(String);

impl ContextText {
    /// Returns a rule's context in this form. One that common JSON parsers cannot read becomes text: an object with it in
    /// its member `unreadable`.
    ///
    /// # Errors
    /// Fails if the context is not a JSON object.
    pub fn new(context: &str) -> serde_json::Result<Self> {
        let mut written = Written { text: String::with_capacity(context.len()), ..Written::default() };
        let mut deserializer = serde_json::Deserializer::from_str(context);
        let reading = Reading { written: Some(&mut written), levels: MAX_DEPTH };
        let read = deserializer.deserialize_map(reading).and_then(|()| deserializer.end());
        if read.is_ok() && !written.is_unusual {
            return Ok(Self(written.text));
        }
        let members: Map<String, Value> = serde_json::from_str(&readable_context(context)?)?;
        serde_json::to_string(&members).map(Self)
    }

    /// Returns the context if it is nested no deeper than this many levels, and else an object with it as
    /// text in its member `unreadable`. A context without members has one level.
    #[must_use]
    pub fn nested_at_most(self, levels: usize) -> Self {
        let (mut depth, mut deepest, mut is_inside, mut bytes) = (0_usize, 0, false, self.0.bytes());
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => is_inside = !is_inside,
                b'\\' => drop(bytes.next()),
                b'{' | b'[' if !is_inside => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                b'}' | b']' if !is_inside => depth -= 1,
                _ => {}
            }
        }
        if deepest <= levels { self } else { Self(unreadable(&self.0)) }
    }

    /// Returns its members, which takes reading it.
    #[must_use]
    pub fn members(&self) -> Map<String, Value> {
        serde_json::from_str(self.as_str()).unwrap_or_default()
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for ContextText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Raw::serialize_known(&self.0, serializer)
    }
}

/// A value that is written while it is read.
#[derive(Default)]
struct Written {
    text: String,
    /// The keys of the objects that are open, as they are written.
    keys: Vec<Range<usize>>,
    /// An object has a key twice, or more keys than are compared. What was written does not count then.
    is_unusual: bool,
}

/// Number of keys of an object that are compared with each other.
const COMPARED: usize = 64;

impl Written {
    /// Writes a number or word.
    fn scalar<E: Error>(&mut self, value: &impl Serialize) -> Result<(), E> {
        self.text.push_str(&serde_json::to_string(value).map_err(E::custom)?);
        Ok(())
    }

    /// Notes the key that was written last, of an object whose keys begin at this number.
    fn key(&mut self, first: usize, begin: usize) {
        let key = begin..self.text.len();
        let earlier = &self.keys[first..];
        self.is_unusual |= earlier.len() >= COMPARED
            || earlier.iter().any(|earlier| {
                earlier.len() == key.len() && self.text.as_bytes()[earlier.clone()] == self.text.as_bytes()[key.clone()]
            });
        if !self.is_unusual {
            self.keys.push(key);
        }
    }
}

/// Checks that a value can be read, and writes it if that is asked for.
struct Reading<'w> {
    written: Option<&'w mut Written>,
    /// Number of levels that the value may be nested.
    levels: usize,
}

impl Reading<'_> {
    fn nested<E: Error>(&mut self) -> Result<Reading<'_>, E> {
        let levels = self.levels.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Reading { written: self.written.as_deref_mut(), levels })
    }

    fn scalar<E: Error>(self, value: &impl Serialize) -> Result<(), E> {
        self.written.map_or(Ok(()), |written| written.scalar(value))
    }

    fn write(&mut self, mark: char) {
        if let Some(written) = &mut self.written {
            written.text.push(mark);
        }
    }

    /// Writes a closing bracket in the place of the comma behind the last item.
    fn close(&mut self, bracket: char) {
        if let Some(written) = &mut self.written
            && written.text.ends_with(',')
        {
            written.text.pop();
        }
        self.write(bracket);
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        if let Some(written) = self.written {
            json::write_text(value, &mut written.text);
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar(&())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.write('[');
        while items.next_element_seed(self.nested()?)?.is_some() {
            self.write(',');
        }
        self.close(']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        self.write('{');
        let first = self.written.as_ref().map_or(0, |written| written.keys.len());
        loop {
            let begin = self.written.as_ref().map_or(0, |written| written.text.len());
            let key = Reading { written: self.written.as_deref_mut(), levels: 0 };
            if members.next_key_seed(key)?.is_none() {
                break;
            }
            if let Some(written) = &mut self.written {
                written.key(first, begin);
            }
            self.write(':');
            members.next_value_seed(self.nested()?)?;
            self.write(',');
        }
        if let Some(written) = &mut self.written {
            written.keys.truncate(first);
        }
        self.close('}');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            assert!(ContextText::new(context).is_err(), "{context}");
        }
    }

    #[test]
    fn a_context_that_is_nested_too_deep_becomes_text() {
        let text = |context: &str| ContextText::new(context).expect("an object");
        for (context, levels) in [
            ("{}", 1),
            (r#"{"a":1,"b":"[[["}"#, 1),
            (r#"{"a":[1,{"b":2}],"c\"[":[[]]}"#, 3),
            (r#"{"a":{"b":{"c":{}}},"\\":[]}"#, 4),
        ] {
            let context = text(context);
            assert_eq!(context.clone().nested_at_most(levels), context);
            let as_text = context.clone().nested_at_most(levels - 1);
            assert_eq!(as_text.members(), Map::from_iter([("unreadable".to_owned(), context.as_str().into())]));
        }
    }

    fn any_context() -> impl Strategy<Value = String> {
        // Few keys, so that some are there twice, and all spellings.
        let space = prop::sample::select(vec!["", " ", "\n\t "]);
        let key = prop::sample::select(vec![r#""a""#, r#""b""#, r#""\u0061""#, r#""c\"d""#, r#""""#, r#""\ud800""#]);
        let leaf = prop::sample::select(vec![
            "1",
            "-1",
            "1.0",
            "1e5",
            "1e-7",
            "0.1",
            "-0",
            "18446744073709551615",
            "18446744073709551616",
            "1e999",
            "null",
            "true",
            "false",
            r#""""#,
            r#""a b""#,
            r#""\/\u00e9\n\ud83d\ude00""#,
            r#""é\u0000""#,
            "[]",
            "{}",
        ]);
        let value = leaf.prop_map(str::to_owned).prop_recursive(4, 60, 6, move |inner| {
            let members = prop::collection::vec((key.clone(), inner.clone(), space.clone()), 0..6);
            let items = prop::collection::vec((inner, space.clone()), 0..6);
            prop_oneof![
                members.prop_map(|members| {
                    let members =
                        members.iter().map(|(key, value, space)| format!("{space}{key}{space}:{value}{space}"));
                    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
                }),
                items.prop_map(|items| {
                    let items = items.iter().map(|(item, space)| format!("{space}{item}{space}"));
                    format!("[{}]", items.collect::<Vec<_>>().join(","))
                }),
            ]
        });
        value.prop_map(|value| if value.starts_with('{') { value } else { format!("{{\"a\": {value}}}") })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_context_is_what_its_members_are(context in any_context()) {
            let readable = readable_context(&context).expect("an object");
            let members: Map<String, Value> = serde_json::from_str(&readable).expect("an object");
            let text = ContextText::new(&context).expect("an object");
            prop_assert_eq!(text.as_str(), serde_json::to_string(&members).expect("JSON"));
            prop_assert_eq!(serde_json::to_string(&text).expect("JSON"), text.as_str());
        }

        #[test]
        fn a_context_of_many_keys_has_each_of_them_once(keys in prop::collection::vec(0..200, 0..300)) {
            let members: Vec<String> = keys.iter().enumerate().map(|(n, key)| format!("\"k{key}\":{n}")).collect();
            let context = format!("{{{}}}", members.join(","));
            let members: Map<String, Value> = serde_json::from_str(&context).expect("an object");
            let text = ContextText::new(&context).expect("an object");
            prop_assert_eq!(text.as_str(), serde_json::to_string(&members).expect("JSON"));
        }
    }
}
