//! JSON whose end is missing: closing it after its last complete member.
//!
//! Azure cuts `properties.log` at 16 KiB, and EKS an event at 256 KiB. What a client sends comes before many members
//! that the API server adds, so a client with a long request decides where the cut is.

use std::borrow::Cow;

use super::length::string_length;
use crate::scan::is_space;

/// EKS writes this instead of the rest.
const MARK: &str = "[Truncated...]";

/// Closes a text that ends inside an object or list after its last complete member, and returns the length of the
/// complete part. `None` for any other text. The result in `closed` need not be JSON, because only strings and brackets
/// are read.
#[cold]
pub(crate) fn close(text: &str, closed: &mut String) -> Option<usize> {
    let Whole { end, open, .. } = whole(text)?;
    closed.clear();
    closed.push_str(&text[..end]);
    close_brackets(&open, closed);
    Some(end)
}

/// Closes a text that ends inside a string value, with that string, and returns the place where the string begins. Of
/// an event that is text in a cut-off record, this string is all that is left.
#[cold]
pub(crate) fn close_string(text: &str, closed: &mut String) -> Option<usize> {
    let Whole { open, string, .. } = whole(text)?;
    let start = string?;
    let text = without_mark(text);
    closed.clear();
    closed.push_str(text.get(..=start)?);
    // Up to the last complete escape.
    let mut rest = text.get(start + 1..)?;
    while let Some(at) = rest.find('\\') {
        let length = if rest[at + 1..].starts_with('u') { 6 } else { 2 };
        let Some(escape) = rest.get(..at + length) else {
            rest = &rest[..at];
            break;
        };
        closed.push_str(escape);
        rest = &rest[at + length..];
    }
    closed.push_str(rest);
    closed.push('"');
    close_brackets(&open, closed);
    Some(start)
}

/// Closes the open brackets, the last one first.
fn close_brackets(open: &[u8], closed: &mut String) {
    closed.extend(open.iter().rev().map(|bracket| if *bracket == b'{' { '}' } else { ']' }));
}

/// Removes white space and EKS's mark from the end of a text.
fn without_mark(text: &str) -> &str {
    let text = text.trim_end();
    text.strip_suffix(MARK).unwrap_or(text)
}

/// Returns a text that is JSON, or that is JSON once it is closed, and whether it had to be closed.
pub(crate) fn closed(text: &str, is_json: impl Fn(&str) -> bool) -> Option<(Cow<'_, str>, bool)> {
    if is_json(text) {
        return Some((text.into(), false));
    }
    let mut buffer = String::new();
    (close(text, &mut buffer).is_some() && is_json(&buffer)).then(|| (buffer.into(), true))
}

/// The complete part of a text whose end is missing.
struct Whole {
    /// The place where its last complete member ends.
    end: usize,
    /// The brackets that are open there.
    open: Vec<u8>,
    /// The place where the string begins in which the text ends, if that string is a value.
    string: Option<usize>,
}

/// Finds the complete part. `None` if the text does not end inside an object or list.
fn whole(text: &str) -> Option<Whole> {
    let bytes = without_mark(text).as_bytes();
    let (mut open, mut end) = (Vec::new(), 0);
    // The last byte outside strings that is not white space. A string counts as its quote.
    let mut last = b' ';
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        match byte {
            b'"' => {
                let is_value = last == b':' || open.last() == Some(&b'[');
                let Some(length) = string_length(&bytes[at..]) else {
                    return (!open.is_empty()).then_some(Whole { end, open, string: is_value.then_some(at) });
                };
                at += length;
                if is_value {
                    end = at;
                }
                last = b'"';
                continue;
            }
            b'{' | b'[' => open.push(byte),
            b'}' | b']' => {
                open.pop()?;
            }
            _ => {}
        }
        // A number or word is complete if something follows it.
        let is_behind_scalar = !matches!(last, b'"' | b'{' | b'[' | b'}' | b']' | b',' | b':' | b' ');
        if is_behind_scalar && (matches!(byte, b',' | b'}' | b']') || is_space(byte)) {
            end = at;
        }
        at += 1;
        if matches!(byte, b'{' | b'[' | b'}' | b']') {
            end = at;
            if open.is_empty() {
                return None;
            }
        }
        if !is_space(byte) {
            last = byte;
        }
    }
    (!open.is_empty()).then_some(Whole { end, open, string: None })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn closed_text(text: &str) -> Option<String> {
        let mut closed = String::new();
        close(text, &mut closed).map(|_| closed)
    }

    #[test]
    fn a_text_is_closed_behind_its_last_complete_member() {
        for (text, closed) in [
            (r#"{"a":1,"b":"c"#, r#"{"a":1}"#),
            (r#"{"a":1,"b":"c""#, r#"{"a":1,"b":"c"}"#),
            (r#"{"a":1,"b""#, r#"{"a":1}"#),
            (r#"{"a":1,"b":"#, r#"{"a":1}"#),
            (r#"{"a":1,"b":20"#, r#"{"a":1}"#),
            (r#"{"a":1,"b":20 "#, r#"{"a":1}"#),
            (r#"{"a":1,"b":20,"#, r#"{"a":1,"b":20}"#),
            (r#"{"a":{"b":[1,{"c":tru"#, r#"{"a":{"b":[1,{}]}}"#),
            (r#"{"a":["x","y"#, r#"{"a":["x"]}"#),
            (r#"{"a":["x",{"b":"\\"}"#, r#"{"a":["x",{"b":"\\"}]}"#),
            (r#"{"a":"x\"#, "{}"),
            (r#"{"a":1,"b":"x[Truncated...]"#, r#"{"a":1}"#),
            (r#"{"a":1,[Truncated...]"#, r#"{"a":1}"#),
            ("{", "{}"),
        ] {
            assert_eq!(closed_text(text).as_deref(), Some(closed), "{text}");
        }
        for text in ["", "5", "\"a", "{}", "{}x", "[1]", "}", "x", r#"{"a":1}}"#] {
            assert_eq!(closed_text(text), None, "{text}");
        }
    }

    fn closed_string(text: &str) -> Option<String> {
        let mut closed = String::new();
        close_string(text, &mut closed).map(|_| closed)
    }

    #[test]
    fn a_string_in_which_a_text_ends_is_closed_behind_its_last_complete_escape() {
        for (text, closed) in [
            (r#"{"log":"{\"a\":1"#, r#"{"log":"{\"a\":1"}"#),
            (r#"{"log":"{\"a\"#, r#"{"log":"{\"a"}"#),
            (r#"[{"log":"a\u00e"#, r#"[{"log":"a"}]"#),
        ] {
            assert_eq!(closed_string(text).as_deref(), Some(closed), "{text}");
        }
        for text in [r#"{"log":"a","lo"#, r#"{"log":5"#, "{}"] {
            assert_eq!(closed_string(text), None, "{text}");
        }
    }

    /// Whether a value is another one, with items and members missing at the ends of lists and objects.
    fn is_part(part: &Value, whole: &Value) -> bool {
        match (part, whole) {
            (Value::Object(part), Value::Object(whole)) => {
                part.iter().all(|(name, part)| whole.get(name).is_some_and(|whole| is_part(part, whole)))
            }
            (Value::Array(part), Value::Array(whole)) => {
                part.len() <= whole.len() && part.iter().zip(whole).all(|(part, whole)| is_part(part, whole))
            }
            _ => part == whole,
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            "[a-z\"\\\\{}\\[\\]:,é]{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map("[a-z\"]{1,4}", inner, 0..5)
                    .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        /// The result is JSON wherever an object is cut, and contains nothing that the object did not.
        #[test]
        fn a_closed_text_is_a_part_of_the_whole(value in json(), pretty in any::<bool>(), at in any::<prop::sample::Index>()) {
            let whole = serde_json::json!({"first": 1, "value": value});
            let text = if pretty { serde_json::to_string_pretty(&whole) } else { serde_json::to_string(&whole) }.expect("JSON");
            let mut at = at.index(text.len() - 1) + 1;
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            let closed = closed_text(&text[..at]).expect("it ends inside of an object");
            let part: Value = serde_json::from_str(&closed).expect("JSON");
            prop_assert!(is_part(&part, &whole), "{closed} of {text}");
            if let Some(closed) = closed_string(&text[..at]) {
                prop_assert!(serde_json::from_str::<Value>(&closed).is_ok(), "{closed} of {text}");
            }
        }
    }
}
