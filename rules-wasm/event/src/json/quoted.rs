//! A string as it is written.

use std::borrow::Cow;

use super::escape::{unescaped, unescapes_to};

/// A valid JSON string as it is written, without quotes.
#[derive(Clone, Copy)]
pub(crate) struct Quoted<'a> {
    pub(crate) text: &'a str,
    pub(crate) has_escapes: bool,
}

impl<'a> Quoted<'a> {
    /// The string's text.
    #[inline]
    pub(crate) fn unescaped(self) -> Cow<'a, str> {
        if self.has_escapes { unescaped(self.text).into() } else { self.text.into() }
    }

    /// Whether this is its text. Unlike unescaping, it ends at the first difference and needs no memory: a client may
    /// send any number of names with escapes.
    #[inline]
    pub(crate) fn is(self, text: &str) -> bool {
        if self.has_escapes { unescapes_to(self.text, text) } else { self.text == text }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_string_is_its_text_and_no_other(
            parts in prop::collection::vec(prop::sample::select(vec![
                "a", "é", "😀", r"\n", r"\b", r"\f", r"\r", r"\t", r"\/", r"\\", r#"\""#, r"\u0061", r"\u000A", r"\u00e9",
                r"\ud83d\ude00", r"\ud83d",
            ]), 0..4),
            other in prop::collection::vec(prop::sample::select(vec!["a", "é", "😀", "\n", "/", "\\", "\u{fffd}"]), 0..4),
        ) {
            let string = Quoted { text: &parts.concat(), has_escapes: true };
            let (text, other) = (string.unescaped(), other.concat());
            prop_assert!(string.is(&text));
            prop_assert_eq!(string.is(&other), text == other);
        }
    }
}
