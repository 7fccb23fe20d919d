//! Why a text is not what it should be, in `serde_json`'s words, which say where.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Why a text is not JSON.
pub(crate) fn not_json(text: &str) -> serde_json::Error {
    serde_json::from_str::<IgnoredAny>(text).err().unwrap_or_else(too_long)
}

/// Why a text is no object, in the words of a reader that says where.
pub(crate) fn not_an_object(text: &str) -> serde_json::Error {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = deserializer.deserialize_map(AnObject).and_then(|()| deserializer.end());
    read.err().unwrap_or_else(too_long)
}

fn too_long() -> serde_json::Error {
    de::Error::custom("longer than 4 GiB")
}

/// An object, of which nothing is wanted.
struct AnObject;

impl<'de> Visitor<'de> for AnObject {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Names come raw: read as text, one with a lone surrogate would be an error.
        while map.next_entry::<&RawValue, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
