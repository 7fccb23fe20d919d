//! A string as it is written.

use std::borrow::Cow;

use super::escape::unescaped;

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
        if self.has_escapes { self.is_unescaped(text) } else { self.text == text }
    }

    fn is_unescaped(self, text: &str) -> bool {
        let (mut string, mut text_left) = (self.text.as_bytes(), text.as_bytes());
        loop {
            let (character, length) = match *string {
                [] => return text_left.is_empty(),
                [b'\\', b'u', first, second, third, last, ..] => {
                    let digits = [first, second, third, last].map(|digit| char::from(digit).to_digit(16));
                    (digits.into_iter().flatten().fold(0, |number, digit| number << 4 | digit), 6)
                }
                [b'\\', escaped, ..] => (u32::from(control(escaped)), 2),
                [byte, ..] => (u32::from(byte), 1),
            };
            let Some((next, rest)) = text_left.split_first() else { return false };
            // A character of several bytes, of which an escape may be only a half.
            if length == 6 && character >= 0x80 {
                return !next.is_ascii() && self.unescaped() == text;
            }
            if character != u32::from(*next) {
                return false;
            }
            (string, text_left) = (&string[length..], rest);
        }
    }
}

/// Returns the character that the letter after a backslash stands for.
fn control(letter: u8) -> u8 {
    match letter {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
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
