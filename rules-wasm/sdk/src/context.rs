//! An alert's context: named values as JSON, limited to a size that the host accepts.

use std::fmt::Write as _;
use std::ops::Range;

use portcullis_event::json::{Raw, write_text};
use portcullis_event::{ResponseStatus, Text};

/// Maximum length of a text in the context, in bytes.
pub(crate) const MAX_TEXT: usize = 2048;
/// Maximum number of items of a list in the context.
pub(crate) const MAX_ITEMS: usize = 32;
/// Maximum length of the context as JSON, in bytes.
pub(crate) const MAX_JSON: usize = 48 << 10;

/// The members of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// An opening brace, and each member with a comma behind it.
    json: String,
    /// Lengths of each key and value.
    lengths: Vec<[usize; 2]>,
}

impl Context {
    /// Allocates enough for most contexts: the members of every alert, and some that the rule adds.
    pub(crate) fn new() -> Self {
        let mut json = String::with_capacity(1024);
        json.push('{');
        Self { json, lengths: Vec::with_capacity(16) }
    }

    /// Iterates over the places of keys and values.
    fn members(&self) -> impl Iterator<Item = [Range<usize>; 2]> + '_ {
        let mut end = 0;
        self.lengths.iter().map(move |[key, value]| {
            // After a brace or comma, and after a colon.
            let key = end + 1..end + 1 + key;
            let value = key.end + 1..key.end + 1 + value;
            end = value.end;
            [key, value]
        })
    }

    /// Adds a member, or replaces the value of the same key.
    pub(crate) fn add(&mut self, key: &str, value: &impl ContextValue) {
        let begin = self.json.len();
        key.write(&mut self.json);
        let middle = self.json.len();
        self.json.push(':');
        value.write(&mut self.json);
        let end = self.json.len();
        self.json.push(',');

        let bytes = self.json.as_bytes();
        let earlier =
            self.members().position(|[key, _]| key.len() == middle - begin && bytes[key] == bytes[begin..middle]);
        match earlier {
            None => self.lengths.push([middle - begin, end - middle - 1]),
            Some(place) => self.replace(place, begin, middle + 1..end),
        }
    }

    /// Replaces the value of a member with that of the last one, which begins at `begin`, and removes the last one.
    fn replace(&mut self, place: usize, begin: usize, value: Range<usize>) {
        let value = self.json[value].to_owned();
        self.json.truncate(begin);
        let earlier = self.members().nth(place);
        if let Some([_, earlier]) = earlier {
            self.json.replace_range(earlier, &value);
            self.lengths[place][1] = value.len();
        }
    }

    /// Returns the number of members.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Returns the context as a JSON object of at most [`MAX_JSON`] bytes. A value that would exceed it becomes null.
    pub(crate) fn into_json(mut self) -> String {
        if self.json.len() > MAX_JSON {
            self.json = self.shortened();
        } else if !self.lengths.is_empty() {
            self.json.pop();
        }
        self.json.push('}');
        self.json
    }

    /// Returns the object without its closing brace.
    fn shortened(&self) -> String {
        const NULL: &str = "null";
        let length_with = |key: usize, value: usize| key + value + ":,".len();
        // Length of the remaining members if all of them are null.
        let mut reserve: usize = self.lengths.iter().map(|[key, _]| length_with(*key, NULL.len())).sum();
        let mut json = String::with_capacity(MAX_JSON);
        json.push('{');
        for [key, value] in self.members() {
            reserve -= length_with(key.len(), NULL.len());
            let fits = json.len() + length_with(key.len(), value.len()) + reserve < MAX_JSON;
            if json.len() > 1 {
                json.push(',');
            }
            json.push_str(&self.json[key]);
            json.push(':');
            json.push_str(if fits { &self.json[value] } else { NULL });
        }
        json
    }
}

/// A value that can be in an alert's context.
pub trait ContextValue {
    /// Appends the value as JSON, truncated to its limit.
    fn write(&self, json: &mut String);
}

impl ContextValue for str {
    fn write(&self, json: &mut String) {
        if self.len() <= MAX_TEXT {
            write_text(self, json);
        } else {
            write_text(&truncated(self.to_owned(), MAX_TEXT), json);
        }
    }
}

impl ContextValue for Text<'_> {
    fn write(&self, json: &mut String) {
        str::write(self, json);
    }
}

impl ContextValue for i64 {
    fn write(&self, json: &mut String) {
        // Writing to memory cannot fail.
        let _ = write!(json, "{self}");
    }
}

impl ContextValue for bool {
    fn write(&self, json: &mut String) {
        json.push_str(if *self { "true" } else { "false" });
    }
}

impl ContextValue for ResponseStatus {
    fn write(&self, json: &mut String) {
        json.push_str("{\"code\":");
        self.code.write(json);
        json.push('}');
    }
}

/// Writes the value as it is in the record, or null if it is too long.
impl ContextValue for Raw<'_> {
    fn write(&self, json: &mut String) {
        json.push_str(if self.get().len() > MAX_TEXT { "null" } else { self.get() });
    }
}

impl<T: ContextValue> ContextValue for [T] {
    fn write(&self, json: &mut String) {
        json.push('[');
        for (position, item) in self.iter().take(MAX_ITEMS).enumerate() {
            if position > 0 {
                json.push(',');
            }
            item.write(json);
        }
        json.push(']');
    }
}

impl<T: ContextValue> ContextValue for Vec<T> {
    fn write(&self, json: &mut String) {
        self.as_slice().write(json);
    }
}

impl<T: ContextValue + ?Sized> ContextValue for &T {
    fn write(&self, json: &mut String) {
        T::write(self, json);
    }
}

impl<T: ContextValue> ContextValue for Option<T> {
    fn write(&self, json: &mut String) {
        match self {
            Some(value) => value.write(json),
            None => json.push_str("null"),
        }
    }
}

/// Truncates a text to `max` bytes, including the `…` at its end.
pub(crate) fn truncated(mut text: String, max: usize) -> String {
    const ELLIPSIS: char = '…';
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max - ELLIPSIS.len_utf8()));
        text.push(ELLIPSIS);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn long_texts_are_truncated_at_a_character() {
        assert_eq!(truncated("åäö".to_owned(), 6), "åäö");
        assert_eq!(truncated("åäöå".to_owned(), 6), "å…");
    }

    proptest! {
        #[test]
        fn texts_are_written_as_serde_json_writes_them(text in "([a-zé/ ]{0,9}|[\\x00-\\x7f\u{80}\u{1f600}]{0,3}){0,6}") {
            let mut json = String::new();
            text.as_str().write(&mut json);
            prop_assert_eq!(json, serde_json::to_string(&text).expect("the value is JSON"));
        }
    }
}
