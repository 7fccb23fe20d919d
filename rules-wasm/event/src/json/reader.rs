//! Reads a JSON text once, from its beginning to its end.

use super::escape::first_special;
use super::length::value_length;
use super::quoted::Quoted;
use super::raw::Raw;
use super::read::Read;
use super::text::Text;
use crate::scan::{container_length, is_escape, is_scalar, is_space, scalar_length};

/// A list or object of at most this many bytes is read byte by byte. Otherwise a client could send many short ones, each
/// of which would cost as much as a block.
const SHORT: usize = 32;

/// A place in a JSON text.
///
/// Where a [`Document`](super::Document) validates a text and finds all its tokens, so that values can be read in any
/// order, a reader needs no memory and passes over what nobody asks for. So it is for texts that are known to be JSON,
/// and in any other text it may not find what is wrong inside of lists and objects. Each function reads what its name
/// says, after white space. `None` means that something else is there; the reader is of no use then.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Reads the members of an object. `member` is given the name of each, and must read its value.
    #[inline]
    pub(crate) fn object(&mut self, mut member: impl FnMut(&mut Self, Quoted<'a>) -> Option<()>) -> Option<()> {
        self.mark(b'{')?;
        if self.next()? == b'}' {
            return self.mark(b'}');
        }
        loop {
            let name = self.string()?;
            self.mark(b':')?;
            member(self, name)?;
            if self.next()? != b',' {
                return self.mark(b'}');
            }
            self.at += 1;
        }
    }

    /// Reads the items of a list. `item` reads each of them.
    #[inline]
    pub(crate) fn list(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.mark(b'[')?;
        if self.next()? == b']' {
            return self.mark(b']');
        }
        loop {
            item(self)?;
            if self.next()? != b',' {
                return self.mark(b']');
            }
            self.at += 1;
        }
    }

    /// Reads a value that should be text. A malformed value is not read to its end.
    pub(crate) fn text(&mut self) -> Read<Text<'a>> {
        match self.next() {
            Some(b'"') => match self.string() {
                Some(Quoted { text: "", .. }) => Read::Absent,
                Some(string) => Read::Present(string.unescaped().into()),
                None => Read::Malformed,
            },
            Some(b'n') if self.value().is_some() => Read::Absent,
            _ => Read::Malformed,
        }
    }

    /// Reads any value. Of an object or a list, only the end is found.
    pub(crate) fn value(&mut self) -> Option<Raw<'a>> {
        let first = self.next()?;
        let begin = self.at;
        match first {
            b'"' => {
                self.string()?;
            }
            b'{' | b'[' => {
                let rest = &self.text.as_bytes()[begin..];
                let short = value_length(&rest[..rest.len().min(SHORT)]);
                self.at += short.or_else(|| container_length(rest))?;
            }
            _ => self.scalar()?,
        }
        Some(Raw::known(&self.text[begin..self.at]))
    }

    /// Returns the first byte of what comes next. `None` at the end of the text.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        let mut byte = *bytes.get(self.at)?;
        while is_space(byte) {
            self.at += 1;
            byte = *bytes.get(self.at)?;
        }
        Some(byte)
    }

    /// Reads a bracket, brace, colon or comma.
    #[inline]
    fn mark(&mut self, mark: u8) -> Option<()> {
        let is_there = self.next()? == mark;
        self.at += 1;
        is_there.then_some(())
    }

    /// Reads a string.
    #[inline]
    fn string(&mut self) -> Option<Quoted<'a>> {
        self.mark(b'"')?;
        let text = self.text;
        let end = first_special(text.as_bytes(), self.at)?;
        if text.as_bytes()[end] != b'"' {
            return self.string_with_escapes(end);
        }
        let text = text.get(self.at..end)?;
        self.at = end + 1;
        Some(Quoted { text, has_escapes: false })
    }

    /// Reads the rest of a string, which has a backslash or a control character at `at`.
    #[cold]
    fn string_with_escapes(&mut self, mut at: usize) -> Option<Quoted<'a>> {
        let bytes = self.text.as_bytes();
        while bytes[at] == b'\\' {
            let is_plain = matches!(bytes.get(at + 1)?, b'"' | b'\\');
            if !is_plain && !is_escape(bytes, at + 1) {
                return None;
            }
            at = first_special(bytes, at + 2)?;
        }
        if bytes[at] != b'"' {
            return None;
        }
        let text = self.text.get(self.at..at)?;
        self.at = at + 1;
        Some(Quoted { text, has_escapes: true })
    }

    /// Reads a number or one of the three words.
    fn scalar(&mut self) -> Option<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = scalar_length(rest);
        self.at += length;
        is_scalar(&rest[..length]).then_some(())
    }
}
