//! Reading values of a document as the types that they should have.

use super::names::Names;
use super::read::Read;
use super::text::Text;
use super::value::Value;

/// Reads the members with these names of a value that should be an object.
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

/// Returns the members of a value with this name in any case. Of members with equal names, the last one counts.
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

/// Reads a value that should be text.
pub(crate) fn one_text<'a>(value: Option<Value<'a, '_>>) -> Read<Text<'a>> {
    value.map_or(Read::Absent, Value::text)
}

/// Reads the texts of a list, and whether an item was dropped because it is not text. With `lone_text`, a lone text
/// counts as a list of one.
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

/// Returns the text of a value, if it is text and not empty.
pub(crate) fn text_of<'a>(value: Option<Value<'a, '_>>) -> Option<Text<'a>> {
    one_text(value).present()
}
