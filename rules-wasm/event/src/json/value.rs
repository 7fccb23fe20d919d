//! The values of a JSON text.

use super::names::Names;
use super::quoted::Quoted;
use super::raw::Raw;
use super::read::Read;
use super::text::Text;
use crate::scan::{Colons, Tokens, scalar_length, short};

/// A text that is one JSON value, and its tokens.
#[derive(Debug)]
pub(crate) struct Document<'a, 't> {
    text: &'a str,
    tokens: &'t Tokens,
}

/// A value in a document. It is small, because a dozen values are passed on at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a, 'd> {
    document: &'d Document<'a, 'd>,
    /// The place where it begins.
    at: u32,
    /// Number of lists and objects that begin before it.
    container: u32,
}

impl<'a, 't> Document<'a, 't> {
    /// Reads a text. `None` if it is not one JSON value.
    pub(crate) fn read(text: &'a str, tokens: &'t mut Tokens) -> Option<Self> {
        tokens.read(text.as_bytes()).then_some(Self { text, tokens })
    }

    /// The document of a text that was read into these tokens, and is one JSON value.
    pub(crate) fn known(text: &'a str, tokens: &'t Tokens) -> Self {
        Self { text, tokens }
    }

    /// The document's text, which may have white space around the value.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The document's value.
    pub(crate) fn value(&self) -> Value<'a, '_> {
        Value { document: self, at: self.behind_space(0), container: 0 }
    }

    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes()[at]
    }

    /// Returns the first place from `at` on that is not white space. There must be one.
    #[inline]
    fn behind_space(&self, at: usize) -> u32 {
        // Between the tokens of JSON, all other bytes are larger.
        short(if self.byte(at) > b' ' { at } else { self.behind_more_space(at) })
    }

    #[cold]
    fn behind_more_space(&self, at: usize) -> usize {
        at + self.text.as_bytes()[at..].iter().take_while(|byte| **byte <= b' ').count()
    }

    /// Returns the string that begins at a place.
    #[inline]
    fn string(&self, at: usize) -> Quoted<'a> {
        let (closing, has_escapes) = self.tokens.closing(at);
        Quoted { text: &self.text[at + 1..closing], has_escapes }
    }

    /// Returns the place of the closing quote before a colon.
    #[inline]
    fn closing(&self, colon: usize) -> usize {
        let before = colon - 1;
        if self.byte(before) == b'"' { before } else { self.tokens.last_before(colon) }
    }

    /// Returns the name before a colon.
    fn name(&self, colon: usize) -> Quoted<'a> {
        let closing = self.closing(colon);
        self.string(self.tokens.last_before(closing))
    }
}

impl<'a, 'd> Value<'a, 'd> {
    #[inline]
    fn byte(self) -> u8 {
        self.document.byte(self.at as usize)
    }

    /// The value as it is written.
    pub(crate) fn raw(self) -> Raw<'a> {
        Raw::known(&self.document.text[self.at as usize..self.end().0])
    }

    /// Whether the value ends after a place.
    pub(crate) fn ends_behind(self, at: usize) -> bool {
        self.end().0 > at
    }

    pub(crate) fn is_object(self) -> bool {
        self.byte() == b'{'
    }

    pub(crate) fn is_list(self) -> bool {
        self.byte() == b'['
    }

    /// Whether the value is null or empty text, which count as absent.
    pub(crate) fn is_absent(self) -> bool {
        self.byte() == b'n' || self.string().is_some_and(|string| string.text.is_empty())
    }

    /// The value's string, if it is one.
    pub(crate) fn string(self) -> Option<Quoted<'a>> {
        (self.byte() == b'"').then(|| self.document.string(self.at as usize))
    }

    /// Reads the value as text, like [`json::text`](crate::json::text).
    pub(crate) fn text(self) -> Read<Text<'a>> {
        match self.string() {
            Some(Quoted { text: "", .. }) => Read::Absent,
            Some(string) => Read::Present(string.unescaped().into()),
            None if self.is_absent() => Read::Absent,
            None => Read::Malformed,
        }
    }

    /// Returns the members with these names, in the order of `names`. Of members with equal names, the last one counts.
    /// `None` if the value is not an object.
    pub(crate) fn named<const N: usize>(self, names: &Names<'_, N>) -> Option<[Option<Self>; N]> {
        if !self.is_object() {
            return None;
        }
        let document = self.document;
        let mut members = [None; N];
        for (colon, value) in self.members() {
            let closing = document.closing(colon);
            let place = if document.tokens.has_escapes(closing) {
                names.place(document.name(colon))
            } else {
                names.place_before(document.text.as_bytes(), closing)
            };
            if let Some(place) = place {
                members[place] = Some(value);
            }
        }
        Some(members)
    }

    /// Iterates over the members and their names. A value that is not an object has no members.
    pub(crate) fn named_values(self) -> impl Iterator<Item = (Quoted<'a>, Self)> {
        self.members().map(move |(colon, value)| (self.document.name(colon), value))
    }

    /// Iterates over the members and the places of their colons.
    #[inline]
    fn members(self) -> Members<'a, 'd> {
        let Self { document, at, container } = self;
        let at = at as usize;
        let end = if self.is_object() { document.tokens.container(container).end as usize } else { at };
        Members { document, colons: document.tokens.colons(at, end), container: container + 1 }
    }

    /// Iterates over the items. A value that is not a list has no items.
    pub(crate) fn items(self) -> Items<'a, 'd> {
        Items(self.is_list().then(|| self.first_inside()).flatten())
    }

    /// Returns the first value inside a list or object, unless it is empty.
    fn first_inside(self) -> Option<Self> {
        let at = self.document.behind_space(self.at as usize + 1);
        let is_empty = at as usize == self.end().0 - 1;
        (!is_empty).then_some(Self { at, container: self.container + 1, ..self })
    }

    /// Returns the place after the value, and the number of lists and objects that begin before it.
    #[inline]
    fn end(self) -> (usize, u32) {
        let Self { document, at, container } = self;
        let at = at as usize;
        match self.byte() {
            b'"' => (document.tokens.closing(at).0 + 1, container),
            b'{' | b'[' => {
                let container = document.tokens.container(container);
                (container.end as usize + 1, container.behind)
            }
            _ => (at + scalar_length(&document.text.as_bytes()[at..]), container),
        }
    }

    /// Returns the value after the next comma, if there is a comma.
    #[inline]
    fn next(self) -> Option<Self> {
        let (end, container) = self.end();
        let document = self.document;
        let comma = document.behind_space(end) as usize;
        (document.byte(comma) == b',').then(|| Self { document, at: document.behind_space(comma + 1), container })
    }
}

/// An iterator over the members of an object.
struct Members<'a, 'd> {
    document: &'d Document<'a, 'd>,
    colons: Colons<'d>,
    /// Number of lists and objects that begin before the next member's value.
    container: u32,
}

impl<'a, 'd> Iterator for Members<'a, 'd> {
    type Item = (usize, Value<'a, 'd>);

    #[expect(clippy::inline_always, reason = "a few hot loops visit most members of a record here")]
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let Self { document, container, .. } = *self;
        let colon = self.colons.next()?;
        let value = Value { document, at: document.behind_space(colon + 1), container };
        if matches!(value.byte(), b'{' | b'[') {
            let inside = document.tokens.container(container);
            self.container = inside.behind;
            self.colons.go_to(inside.end as usize);
        }
        Some((colon, value))
    }
}

/// An iterator over the items of a list.
#[derive(Clone)]
pub(crate) struct Items<'a, 'd>(Option<Value<'a, 'd>>);

impl<'a, 'd> Iterator for Items<'a, 'd> {
    type Item = Value<'a, 'd>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.0?;
        self.0 = item.next();
        Some(item)
    }
}
