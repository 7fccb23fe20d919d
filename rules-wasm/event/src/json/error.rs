//! Error messages for texts that are not JSON. They are `serde_json`'s, which reads the text again to find the place.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Returns why a text is not JSON.
pub(crate) fn not_json(text: &str) -> serde_json::Error {
    serde_json::from_str::<IgnoredAny>(text).err().unwrap_or_else(too_long)
}

/// Returns why a text is not a JSON object.
pub(crate) fn not_an_object(text: &str) -> serde_json::Error {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = deserializer.deserialize_map(AnObject).and_then(|()| deserializer.end());
    read.err().unwrap_or_else(too_long)
}

fn too_long() -> serde_json::Error {
    de::Error::custom("longer than 4 GiB")
}

/// Reads an object and keeps nothing of it.
struct AnObject;

impl<'de> Visitor<'de> for AnObject {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Names are read raw, because a name with a lone surrogate cannot be read as text.
        while map.next_entry::<&RawValue, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
