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
}
