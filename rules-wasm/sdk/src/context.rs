//! An alert's context: named values as JSON, limited to a size that the host accepts.

use portcullis_event::json::{Raw, is_written_as_it_is};
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
    /// All keys and values as JSON, concatenated.
    json: String,
    /// Lengths of each key and value.
    lengths: Vec<[usize; 2]>,
}

impl Context {
    /// Allocates enough for most contexts: the members of every alert, and some that the rule adds.
    pub(crate) fn new() -> Self {
        Self { json: String::with_capacity(1024), lengths: Vec::with_capacity(16) }
    }

    /// Iterates over keys and values.
    fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.json;
        self.lengths.iter().map(move |[key, value]| {
            let (member, after) = rest.split_at(key + value);
            rest = after;
            member.split_at(*key)
        })
    }

    pub(crate) fn add(&mut self, key: &str, value: &impl ContextValue) {
        let begin = self.json.len();
        key.write(&mut self.json);
        let middle = self.json.len();
        value.write(&mut self.json);
        let position = self.members().position(|(earlier, _)| *earlier == self.json[begin..middle]);
        match position {
            None => self.lengths.push([middle - begin, self.json.len() - middle]),
            Some(position) => {
                let value = self.json.split_off(middle);
                self.json.truncate(begin);
                let [key, length] = self.lengths[position];
                let from = self.lengths[..position].as_flattened().iter().sum::<usize>() + key;
                self.json.replace_range(from..from + length, &value);
                self.lengths[position][1] = value.len();
            }
        }
    }

    /// Returns the number of members.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Returns the context as a JSON object of at most [`MAX_JSON`] bytes. A value that would exceed it becomes null.
    pub(crate) fn to_json(&self) -> String {
        const NULL: &str = "null";
        let length_with = |key: &str, value: &str| key.len() + value.len() + ":,".len();
        // Length of the remaining members if all of them are null.
        let mut reserve: usize = self.members().map(|(key, _)| length_with(key, NULL)).sum();
        let all: usize = self.members().map(|(key, value)| length_with(key, value)).sum();
        let mut json = String::with_capacity(all.min(MAX_JSON) + "{}".len());
        json.push('{');
        for (key, value) in self.members() {
            reserve -= length_with(key, NULL);
            let fits = json.len() + length_with(key, value) + reserve < MAX_JSON;
            if json.len() > 1 {
                json.push(',');
            }
            json.push_str(key);
            json.push(':');
            json.push_str(if fits { value } else { NULL });
        }
        json.push('}');
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
        let truncated = (self.len() > MAX_TEXT).then(|| truncated(self.to_owned(), MAX_TEXT));
        let text = truncated.as_deref().unwrap_or(self);
        if is_written_as_it_is(text) {
            json.reserve(text.len() + 2);
            json.push('"');
            json.push_str(text);
            json.push('"');
        } else {
            // Writing a text to memory cannot fail.
            json.push_str(&serde_json::to_string(text).unwrap_or_default());
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
        json.push_str(&self.to_string());
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
