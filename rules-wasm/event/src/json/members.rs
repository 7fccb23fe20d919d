//! Reading raw JSON: members of objects, items of lists, texts and integers.

use super::error::{not_an_object, not_json};
use super::escape::unescaped;
use super::names::Names;
use super::raw::Raw;
use super::read::Read;
use super::reader::Reader;
use super::text::Text;
use super::value::{Document, Value};
use crate::scan::Tokens;

impl<'a> Raw<'a> {
    /// A text that is one JSON value, without the white space around it.
    ///
    /// # Errors
    /// The text is not one JSON value.
    pub fn new(text: &'a str) -> serde_json::Result<Self> {
        match Document::read(text, &mut Tokens::default()) {
            Some(document) => Ok(document.value().raw()),
            None => Err(not_json(text)),
        }
    }
}

/// Members of one object, in the order of the names that were asked for. Of members with equal names, the last one
/// counts.
pub type Members<'a, const N: usize> = [Option<Raw<'a>>; N];

/// Reads the members with these names from the text of one object.
///
/// # Errors
/// The text is not one JSON value, or not an object.
pub fn members<'a, const N: usize>(text: &'a str, names: [&str; N]) -> serde_json::Result<Members<'a, N>> {
    let mut tokens = Tokens::default();
    let document = Document::read(text, &mut tokens).ok_or_else(|| not_an_object(text))?;
    let members = document.value().named(&Names::new(names)).ok_or_else(|| not_an_object(text))?;
    Ok(members.map(|member| member.map(Value::raw)))
}

/// Reads the [`members`] of a value that should be an object.
pub fn object<'a, const N: usize>(raw: Option<Raw<'a>>, names: [&str; N]) -> Read<Members<'a, N>> {
    match raw.map(Raw::get) {
        None | Some("null" | "\"\"") => Read::Absent,
        Some(text) => read_members(text, names).map_or(Read::Malformed, Read::Present),
    }
}

/// Reads the members of a known value. `None` if it is not an object.
fn read_members<'a, const N: usize>(text: &'a str, names: [&str; N]) -> Option<Members<'a, N>> {
    let mut members = [None; N];
    Reader::new(text).object(|reader, name| {
        let place = names.iter().position(|asked| name.is(asked));
        let value = Some(reader.value()?);
        if let Some(place) = place {
            members[place] = value;
        }
        Some(())
    })?;
    Some(members)
}

/// Reads a value that should be text. A lone surrogate, which is valid in JSON and not in Unicode, is read as U+FFFD,
/// so that one broken character does not hide a name.
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

/// Reads a value that should be a 64-bit integer. An integral float, and text of digits with an optional minus, count
/// as one.
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
        // Only JSON's numbers parse as Rust's numbers. An integer of more than 64 bits is malformed, and is not read as
        // a float.
        let float = number.contains(['.', 'e', 'E']).then(|| number.parse().ok().and_then(integral));
        whole(number).or(float.flatten())
    };
    integer.map_or(Read::Malformed, Read::Present)
}

/// Parses digits with an optional minus.
fn whole(text: &str) -> Option<i64> {
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// Returns a float as an integer, if it is one of 64 bits.
fn integral(float: f64) -> Option<i64> {
    const BOUND: f64 = 9_223_372_036_854_775_808.0; // 2^63, the first float above i64::MAX
    #[expect(clippy::cast_possible_truncation, reason = "integral and within the bounds of i64")]
    (float.fract() == 0.0 && (-BOUND..BOUND).contains(&float)).then_some(float as i64)
}

/// Returns the first `max` items of a list. `None` if the value is not a list.
#[must_use]
pub fn items<'a>(raw: Raw<'a>, max: usize) -> Option<Vec<Raw<'a>>> {
    let mut items = Vec::new();
    let mut add = |reader: &mut Reader<'a>| {
        let item = (items.len() < max).then(|| reader.value())??;
        items.push(item);
        Some(())
    };
    let mut reader = Reader::new(raw.get());
    if reader.next() != Some(b'[') {
        return None;
    }
    // Stops behind the last item that was asked for.
    let _ = reader.list(&mut add);
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_names_is_found() {
        let known: Vec<String> = (0..300).map(|number| format!("n{number}")).collect();
        let names: [&str; 300] = std::array::from_fn(|number| &*known[number]);
        for (place, name) in names.iter().enumerate() {
            let text = format!("{{\"{name}\":1}}");
            let found = members(&text, names).expect("an object");
            assert_eq!(found.iter().position(Option::is_some), Some(place), "{name}");
        }
    }

    #[test]
    fn a_member_is_found_by_exactly_its_name() {
        let names = ["verb", "user", "callerIP", "callerIp", "", "a", "verb-", "erb", "\"", "a\":{\"b", "\\a"];
        for name in names {
            let json = |name: &str| serde_json::json!({"other": {"verb": [{"": 0}]}, name: 5}).to_string();
            let text = json(name);
            for (asked, found) in names.iter().zip(members(&text, names).expect("an object")) {
                assert_eq!(found.map(Raw::get), (*asked == name).then_some("5"), "{asked} in {name}");
            }
            for other in [format!("{name}x"), format!("x{name}"), format!("\"{name}"), format!("\\{name}")] {
                let text = json(&other);
                let found = members(&text, [name]).expect("an object");
                assert_eq!(found[0].is_some(), other == name, "{name} in {other}");
            }
        }
        let nested = r#"{"a":{"b":1},"c\"user":2,"us\u0065r":3}"#;
        let found = members(nested, ["a\":{\"b", "b", "user", "\"user"]).expect("an object");
        assert_eq!(found.map(|found| found.map(Raw::get)), [None, None, Some("3"), None]);
    }
}
