//! Finding the reason why a record cannot be read.

use serde::de::IgnoredAny;

use super::hints;
use super::outcome::Rejected;
use crate::json;

/// Returns why a text that is not a JSON object is rejected.
pub(crate) fn not_an_object(text: &str) -> Rejected {
    if text.trim_ascii().is_empty() {
        Rejected::Empty
    } else if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        Rejected::NotAnObject
    } else if hints::is_utf16(text.as_bytes()) {
        Rejected::Utf16
    } else {
        let error = json::not_an_object(text).to_string();
        Rejected::NotJson(hints::of(text).map_or(error.clone(), |hint| format!("{error}; {hint}")))
    }
}

/// Returns why bytes that are not UTF-8 are rejected.
pub(crate) fn not_utf8(bytes: &[u8]) -> Rejected {
    if hints::is_utf16(bytes) {
        return Rejected::Utf16;
    }
    let at = bytes.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
    Rejected::NotUtf8 { at }
}
