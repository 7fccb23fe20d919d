//! The members of objects, and what they hold.

use std::fmt;

use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeStruct as _;
use serde::{Deserializer as _, Serialize};
use serde_json::value::RawValue;

use crate::Text;
use crate::json::escape::unescaped;
use crate::json::names::Names;
use crate::json::value::{Document, Value};
use crate::scan::Tokens;

/// The text of one valid JSON value, without white space around it. As JSON it is that value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    /// A text that is one JSON value.
    ///
    /// # Errors
    /// It is none.
    pub fn new(text: &'a str) -> serde_json::Result<Self> {
        match Document::read(text, &mut Tokens::default()) {
            Some(document) => Ok(document.value().raw()),
            None => Err(serde_json::from_str::<IgnoredAny>(text).err().unwrap_or_else(too_long)),
        }
    }

    /// A text that is known to be one.
    pub(crate) fn known(text: &'a str) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn get(self) -> &'a str {
        self.0
    }
}

impl Serialize for Raw<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Only of serde_json's own type its writer knows that it is JSON already. That could be had of this text by reading it
        // once more; so this is what it says to its writer.
        const RAW_VALUE: &str = "$serde_json::private::RawValue";
        let mut value = serializer.serialize_struct(RAW_VALUE, 1)?;
        value.serialize_field(RAW_VALUE, self.0)?;
        value.end()
    }
}

/// What a place in a record holds, against the type that it should have. Null and empty text are
/// [`Absent`](Read::Absent).
#[derive(Debug, PartialEq, Eq)]
pub enum Read<T> {
    /// A value of the type.
    Present(T),
    /// Nothing.
    Absent,
    /// A value of another type.
    Malformed,
}

impl<T> Read<T> {
    /// The value, if there is one of the type.
    pub fn present(self) -> Option<T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Malformed => None,
        }
    }
}

/// The members of one object that were asked for, in the order asked; of members with one name the last.
pub type Members<'a, const N: usize> = [Option<Raw<'a>>; N];

/// The names of two lists as one, for [`members`]; `N` is the sum of their lengths.
///
/// # Panics
/// `N` is not that sum.
#[must_use]
pub const fn joined<const N: usize>(first: &[&'static str], second: &[&'static str]) -> [&'static str; N] {
    let mut names = [""; N];
    let (start, end) = names.split_at_mut(first.len());
    start.copy_from_slice(first);
    end.copy_from_slice(second);
    names
}

/// Reads the members with these names out of the text of one object.
///
/// # Errors
/// The text is not one JSON value, or not an object.
pub fn members<'a, const N: usize>(text: &'a str, names: [&str; N]) -> serde_json::Result<Members<'a, N>> {
    members_of(text, names).ok_or_else(|| not_an_object(text))
}

/// The same without a reason: what finds one is large, and rules are not to be.
fn members_of<'a, const N: usize>(text: &'a str, names: [&str; N]) -> Option<Members<'a, N>> {
    let mut tokens = Tokens::default();
    let document = Document::read(text, &mut tokens)?;
    let members = document.value().named(&Names::new(names))?;
    Some(members.map(|member| member.map(Value::raw)))
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

/// [`members`] of a value that should be an object.
pub fn object<'a, const N: usize>(raw: Option<Raw<'a>>, names: [&str; N]) -> Read<Members<'a, N>> {
    match raw.map(Raw::get) {
        None | Some("null" | "\"\"") => Read::Absent,
        Some(text) => members_of(text, names).map_or(Read::Malformed, Read::Present),
    }
}

/// A value that should be text. A lone surrogate, which JSON's grammar lets pass and Unicode does not, is read as
/// U+FFFD: one broken character must not hide a whole name.
#[must_use]
pub fn text(raw: Option<Raw<'_>>) -> Read<Text<'_>> {
    let Some(raw) = raw.map(Raw::get).filter(|raw| *raw != "null") else {
        return Read::Absent;
    };
    let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Read::Malformed;
    };
    if inner.is_empty() {
        Read::Absent
    } else if inner.contains('\\') {
        Read::Present(unescaped(inner).into())
    } else {
        Read::Present(inner.into())
    }
}

/// A value that should be a 64-bit integer; an integral float and a text of an optional minus and digits count as one.
#[must_use]
pub fn integer(raw: Option<Raw<'_>>) -> Read<i64> {
    let Some(number) = raw.map(Raw::get).filter(|raw| *raw != "null") else {
        return Read::Absent;
    };
    let integer = if number.starts_with('"') {
        match text(raw) {
            Read::Present(digits) => whole(&digits),
            Read::Absent => return Read::Absent,
            Read::Malformed => None,
        }
    } else {
        // Of JSON's values only numbers are also Rust's. An integer of more than 64 bits does not become one as a float.
        let float = number.contains(['.', 'e', 'E']).then(|| number.parse().ok().and_then(integral));
        whole(number).or(float.flatten())
    };
    integer.map_or(Read::Malformed, Read::Present)
}

/// The integer that is written as an optional minus and digits.
fn whole(text: &str) -> Option<i64> {
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// The integer that a float is exactly, if it has 64 bits.
fn integral(float: f64) -> Option<i64> {
    const BOUND: f64 = 9_223_372_036_854_775_808.0; // 2^63, the first float above i64::MAX
    #[expect(clippy::cast_possible_truncation, reason = "integral and within the bounds of i64")]
    (float.fract() == 0.0 && (-BOUND..BOUND).contains(&float)).then_some(float as i64)
}

/// The first `max` items of a value, if it is a list.
#[must_use]
pub fn items(raw: Raw<'_>, max: usize) -> Option<Vec<Raw<'_>>> {
    let mut tokens = Tokens::default();
    let document = Document::read(raw.0, &mut tokens)?;
    let list = document.value();
    list.is_list().then(|| list.items().take(max).map(Value::raw).collect())
}

/// The members with these names of a value that should be an object.
pub(crate) fn named<'a, 't, const N: usize>(
    value: Option<Value<'a, 't>>,
    names: &Names<'_, N>,
) -> Read<[Option<Value<'a, 't>>; N]> {
    let Some(value) = value else { return Read::Absent };
    match value.named(names) {
        Some(members) => Read::Present(members),
        None if value.is_absent() => Read::Absent,
        None => Read::Malformed,
    }
}

/// The members of a value with this name in any case; of those with equal names the last.
pub(crate) fn members_in_any_case<'a, 't>(value: Value<'a, 't>, name: &str) -> Vec<Value<'a, 't>> {
    let mut members: Vec<(_, Value<'a, 't>)> = Vec::new();
    let named = value.named_values().map(|(name, value)| (name.unescaped(), value));
    for (key, value) in named.filter(|(key, _)| key.eq_ignore_ascii_case(name)) {
        match members.iter_mut().find(|(earlier, _)| *earlier == key) {
            Some(earlier) => earlier.1 = value,
            None => members.push((key, value)),
        }
    }
    members.into_iter().map(|(_, value)| value).collect()
}

/// A value that should be text, if it is there.
pub(crate) fn one_text<'a>(value: Option<Value<'a, '_>>) -> Read<Text<'a>> {
    value.map_or(Read::Absent, Value::text)
}

/// The texts of a list, and whether an item was dropped because it is none. A lone text is a list of one where
/// `lone_text` says so.
pub(crate) fn texts<'a>(value: Option<Value<'a, '_>>, lone_text: bool) -> Read<(Vec<Text<'a>>, bool)> {
    let Some(value) = value.filter(|value| !value.is_absent()) else {
        return Read::Absent;
    };
    if lone_text && let Read::Present(text) = value.text() {
        return Read::Present((vec![text], false));
    }
    if !value.is_list() {
        return Read::Malformed;
    }
    let (mut texts, mut dropped) = (Vec::with_capacity(4), false);
    for item in value.items() {
        match item.text() {
            Read::Present(text) => texts.push(text),
            Read::Absent if item.string().is_some() => {}
            Read::Absent | Read::Malformed => dropped = true,
        }
    }
    Read::Present((texts, dropped))
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
