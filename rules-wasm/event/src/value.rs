//! The values in a text that has been read.

use std::borrow::Cow;

use crate::Text;
use crate::escape::unescaped;
use crate::json::{Raw, Read};
use crate::tokens::{Tokens, scalar_length};

/// A text that is one JSON value, with its tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document<'a, 't> {
    text: &'a str,
    tokens: &'t Tokens,
}

/// A value in a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a, 't> {
    document: Document<'a, 't>,
    /// Where it begins.
    at: usize,
    /// How many lists and objects begin before it.
    container: u32,
}

impl<'a, 't> Document<'a, 't> {
    /// Reads a text. None if it is not one JSON value.
    pub(crate) fn read(text: &'a str, tokens: &'t mut Tokens) -> Option<Self> {
        tokens.read(text.as_bytes()).then_some(Self { text, tokens })
    }

    /// The value that it is.
    pub(crate) fn value(self) -> Value<'a, 't> {
        Value { document: self, at: self.behind_space(0), container: 0 }
    }

    #[inline]
    fn byte(self, at: usize) -> u8 {
        self.text.as_bytes()[at]
    }

    /// The first place from this one on that is no white space; there is one.
    #[inline]
    fn behind_space(self, at: usize) -> usize {
        // Between the tokens of JSON nothing else is so low.
        if self.byte(at) > b' ' { at } else { self.behind_more_space(at) }
    }

    #[cold]
    fn behind_more_space(self, at: usize) -> usize {
        at + self.text.as_bytes()[at..].iter().take_while(|byte| **byte <= b' ').count()
    }

    /// The string that begins here.
    #[inline]
    fn string(self, at: usize) -> Quoted<'a> {
        self.between([at, self.tokens.next(at + 1)])
    }

    /// What stands between two quotes.
    #[inline]
    fn between(self, [opening, closing]: [usize; 2]) -> Quoted<'a> {
        Quoted { text: &self.text[opening + 1..closing], has_escapes: self.tokens.has_escapes(closing) }
    }
}

impl<'a, 't> Value<'a, 't> {
    #[inline]
    fn byte(self) -> u8 {
        self.document.byte(self.at)
    }

    /// Its text.
    pub(crate) fn raw(self) -> Raw<'a> {
        Raw::known(&self.document.text[self.at..self.end().0])
    }

    pub(crate) fn is_object(self) -> bool {
        self.byte() == b'{'
    }

    pub(crate) fn is_list(self) -> bool {
        self.byte() == b'['
    }

    /// Whether it is null or empty text, which count as absent.
    pub(crate) fn is_absent(self) -> bool {
        self.byte() == b'n' || self.string().is_some_and(|string| string.text.is_empty())
    }

    /// A string, if it is one.
    pub(crate) fn string(self) -> Option<Quoted<'a>> {
        (self.byte() == b'"').then(|| self.document.string(self.at))
    }

    /// It as text, as [`json::text`](crate::json::text) reads it.
    pub(crate) fn text(self) -> Read<Text<'a>> {
        match self.string() {
            Some(Quoted { text: "", .. }) => Read::Absent,
            Some(string) => Read::Present(string.unescaped().into()),
            None if self.is_absent() => Read::Absent,
            None => Read::Malformed,
        }
    }

    /// The members with these names, in the order asked; of members with one name the last. None if it is no object.
    pub(crate) fn named<const N: usize>(self, names: [&str; N]) -> Option<[Option<Self>; N]> {
        if !self.is_object() {
            return None;
        }
        let mut members = [None; N];
        let beginnings = names.iter().fold(0, |beginnings, name| beginnings | beginning(name));
        let mut next = 0;
        for (name, value) in self.members() {
            if !name.has_escapes && beginnings & beginning(name.text) == 0 {
                continue;
            }
            if let Some(place) = name.place(&names, next) {
                members[place] = Some(value);
                next = place + 1;
            }
        }
        Some(members)
    }

    /// Its members, each with its name; of what is no object, none.
    pub(crate) fn members(self) -> Members<'a, 't> {
        let Self { document, container, .. } = self;
        let members = if self.is_object() { document.tokens.container(container).members } else { [0; 2] };
        Members { document, members }
    }

    /// Its items; of what is no list, none.
    pub(crate) fn items(self) -> Items<'a, 't> {
        Items(self.is_list().then(|| self.first_inside()).flatten())
    }

    /// What stands behind its opening bracket, unless that is the closing one.
    fn first_inside(self) -> Option<Self> {
        let at = self.document.behind_space(self.at + 1);
        let is_empty = at == self.end().0 - 1;
        (!is_empty).then_some(Self { at, container: self.container + 1, ..self })
    }

    /// Where it ends, and how many lists and objects begin before that.
    #[inline]
    fn end(self) -> (usize, u32) {
        let Self { document, at, container } = self;
        match self.byte() {
            b'"' => (document.tokens.next(at + 1) + 1, container),
            b'{' | b'[' => {
                let container = document.tokens.container(container);
                (container.end as usize + 1, container.behind)
            }
            _ => (at + scalar_length(&document.text.as_bytes()[at..]), container),
        }
    }

    /// What stands behind it and a comma, if there is one.
    #[inline]
    fn next(self) -> Option<Self> {
        let (end, container) = self.end();
        let document = self.document;
        let at = document.behind_space(end);
        (document.byte(at) == b',').then(|| Self { document, at: document.behind_space(at + 1), container })
    }
}

/// A bit that says something about a name: of two names with different ones, one is not the other.
#[inline]
fn beginning(name: &str) -> u64 {
    let first = name.as_bytes().first().copied().unwrap_or_default();
    1 << ((usize::from(first) + 5 * name.len()) % 64)
}

/// The members that are left of an object.
pub(crate) struct Members<'a, 't> {
    document: Document<'a, 't>,
    /// The number of the next one, and of the first behind the object.
    members: [u32; 2],
}

impl<'a, 't> Iterator for Members<'a, 't> {
    type Item = (Quoted<'a>, Value<'a, 't>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let Self { document, members: [next, behind] } = *self;
        if next == behind {
            return None;
        }
        let member = document.tokens.member(next);
        let value = Value { document, at: member.value as usize, container: member.container };
        self.members[0] = match value.byte() {
            b'{' | b'[' => document.tokens.container(member.container).members[1],
            _ => next + 1,
        };
        Some((document.between(member.name.map(|quote| quote as usize)), value))
    }
}

/// The items that are left of a list.
pub(crate) struct Items<'a, 't>(Option<Value<'a, 't>>);

impl<'a, 't> Iterator for Items<'a, 't> {
    type Item = Value<'a, 't>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.0?;
        self.0 = item.next();
        Some(item)
    }
}

/// A string as it is written, without its quotes.
#[derive(Clone, Copy)]
pub(crate) struct Quoted<'a> {
    pub(crate) text: &'a str,
    has_escapes: bool,
}

impl<'a> Quoted<'a> {
    /// The place of this text in a list; most often it is the next one.
    #[inline]
    fn place(self, texts: &[&str], next: usize) -> Option<usize> {
        let text = self.unescaped();
        let (before, rest) = texts.split_at(next);
        let is = |asked: &&str| asked.len() == text.len() && **asked == *text;
        rest.iter().position(is).map(|place| next + place).or_else(|| before.iter().position(is))
    }

    /// The text that it stands for.
    #[inline]
    pub(crate) fn unescaped(self) -> Cow<'a, str> {
        if self.has_escapes { unescaped(self.text).into() } else { self.text.into() }
    }
}
