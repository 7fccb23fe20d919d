//! Reading JSON that its writer may have got wrong: a value is looked at only where it is wanted, and one of another
//! type than expected is [`Malformed`](Read::Malformed), never an error that would lose the record.
//!
//! Nothing here recurses: what is skipped or kept raw may be nested as deep as its writer liked.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
pub use serde_json::value::RawValue;

use crate::Text;

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
pub type Members<'a, const N: usize> = [Option<&'a RawValue>; N];

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
    let mut members = [None; N];
    find(text, Wanted { names: &names, members: &mut members })?;
    Ok(members)
}

/// The members of a value with this name in any case, if the value is an object; of those with equal names the last.
pub(crate) fn members_in_any_case<'a>(raw: &'a RawValue, name: &str) -> Vec<&'a RawValue> {
    let visitor = AnyCaseVisitor(name);
    let members = serde_json::Deserializer::from_str(raw.get()).deserialize_map(visitor).unwrap_or_default();
    members.into_iter().map(|(_, value)| value).collect()
}

/// Not generic, so that a component holds it once.
fn find<'a>(text: &'a str, wanted: Wanted<'_, 'a>) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(wanted)?;
    deserializer.end()
}

/// [`members`] of a value that should be an object.
pub fn object<'a, const N: usize>(raw: Option<&'a RawValue>, names: [&str; N]) -> Read<Members<'a, N>> {
    match raw.map(RawValue::get) {
        None | Some("null" | "\"\"") => Read::Absent,
        Some(text) => members(text, names).map_or(Read::Malformed, Read::Present),
    }
}

/// A value that should be text. A lone surrogate, which JSON's grammar lets pass and Unicode does not, is read as
/// U+FFFD: one broken character must not hide a whole name.
#[must_use]
pub fn text(raw: Option<&RawValue>) -> Read<Text<'_>> {
    let Some(raw) = raw.map(RawValue::get).filter(|raw| *raw != "null") else {
        return Read::Absent;
    };
    let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Read::Malformed;
    };
    if inner.is_empty() {
        Read::Absent
    } else if inner.contains('\\') {
        unescape(raw).map_or(Read::Malformed, |text| Read::Present(text.into()))
    } else {
        Read::Present(inner.into())
    }
}

/// A value that should be a 64-bit integer; an integral float and a text of an optional minus and digits count as one.
#[must_use]
pub fn integer(raw: Option<&RawValue>) -> Read<i64> {
    let Some(number) = raw.map(RawValue::get).filter(|raw| *raw != "null") else {
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
pub fn items(raw: &RawValue, max: usize) -> Option<Vec<&RawValue>> {
    let mut items = Vec::new();
    let is_list = for_each_item(raw, &mut |item| {
        if items.len() < max {
            items.push(item);
        }
    });
    is_list.then_some(items)
}

/// Shows the items of a value one after the other, if it is a list; whether it is one.
pub(crate) fn for_each_item<'a>(raw: &'a RawValue, show: &mut dyn FnMut(&'a RawValue)) -> bool {
    serde_json::Deserializer::from_str(raw.get()).deserialize_seq(Items(show)).is_ok()
}

/// The text of a JSON string with escapes; none if it is no JSON string. `raw` holds the quotes.
pub(crate) fn unescape(raw: &str) -> Option<String> {
    let bytes = Bytes.deserialize(&mut serde_json::Deserializer::from_str(raw)).ok()?;
    Some(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The names of the members to find, and where their values go.
struct Wanted<'m, 'a> {
    names: &'m [&'m str],
    members: &'m mut [Option<&'a RawValue>],
}

impl<'de> Visitor<'de> for Wanted<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&RawValue>()? {
            match position(self.names, key) {
                Some(position) => self.members[position] = Some(map.next_value()?),
                None => drop(map.next_value::<de::IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A key's place among the names. Keys come raw: read as text, one with a lone surrogate would be an error.
fn position(names: &[&str], key: &RawValue) -> Option<usize> {
    let key = unquoted(key.get());
    names.iter().position(|name| *name == &*key)
}

/// The text of a key, or of another JSON string.
fn unquoted(raw: &str) -> Cow<'_, str> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(raw);
    if inner.contains('\\') { unescape(raw).unwrap_or_default().into() } else { inner.into() }
}

/// The bytes of a string. Asked for bytes, `serde_json` lets lone surrogates through, in the generalized UTF-8
/// that `from_utf8` refuses.
struct Bytes;

impl<'de> DeserializeSeed<'de> for Bytes {
    type Value = Vec<u8>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("text")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}

struct AnyCaseVisitor<'n>(&'n str);

impl<'de> Visitor<'de> for AnyCaseVisitor<'_> {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Self::Value = Vec::new();
        while let Some(key) = map.next_key::<&RawValue>()? {
            let (key, value) = (unquoted(key.get()), map.next_value()?);
            match members.iter_mut().find(|(earlier, _)| *earlier == key) {
                Some(earlier) => earlier.1 = value,
                None if key.eq_ignore_ascii_case(self.0) => members.push((key, value)),
                None => {}
            }
        }
        Ok(members)
    }
}

struct Items<'s, 'a>(&'s mut dyn FnMut(&'a RawValue));

impl<'de> Visitor<'de> for Items<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(item) = list.next_element()? {
            (self.0)(item);
        }
        Ok(())
    }
}

/// The texts of a list, and whether an item was dropped because it is none. A lone text is a list of one where
/// `lone_text` says so.
pub(crate) fn texts(raw: Option<&RawValue>, lone_text: bool) -> Read<(Vec<Text<'_>>, bool)> {
    let Some(raw) = raw.filter(|raw| !matches!(raw.get(), "null" | "\"\"")) else {
        return Read::Absent;
    };
    if lone_text && let Read::Present(text) = text(Some(raw)) {
        return Read::Present((vec![text], false));
    }
    let (mut texts, mut dropped) = (Vec::new(), false);
    let is_list = for_each_item(raw, &mut |item| match text(Some(item)) {
        Read::Present(text) => texts.push(text),
        Read::Absent if item.get() != "null" => {}
        Read::Absent | Read::Malformed => dropped = true,
    });
    if is_list { Read::Present((texts, dropped)) } else { Read::Malformed }
}
