//! The values in a text that has been read.

use std::borrow::Cow;

use crate::Text;
use crate::escape::unescaped;
use crate::json::{Raw, Read};
use crate::scalar::scalar_length;
use crate::tokens::{Member, Tokens, short};

/// A text that is one JSON value, with its tokens.
#[derive(Debug)]
pub(crate) struct Document<'a, 't> {
    text: &'a str,
    tokens: &'t Tokens,
}

/// A value in a document; small, since a dozen of them are handed on at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a, 'd> {
    document: &'d Document<'a, 'd>,
    /// Where it begins.
    at: u32,
    /// How many lists and objects begin before it.
    container: u32,
}

impl<'a, 't> Document<'a, 't> {
    /// Reads a text. None if it is not one JSON value.
    pub(crate) fn read(text: &'a str, tokens: &'t mut Tokens) -> Option<Self> {
        tokens.read(text.as_bytes()).then_some(Self { text, tokens })
    }

    /// The value that it is.
    pub(crate) fn value(&self) -> Value<'a, '_> {
        Value { document: self, at: self.behind_space(0), container: 0 }
    }

    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes()[at]
    }

    /// The first place from this one on that is no white space; there is one.
    #[inline]
    fn behind_space(&self, at: usize) -> u32 {
        // Between the tokens of JSON nothing else is so low.
        short(if self.byte(at) > b' ' { at } else { self.behind_more_space(at) })
    }

    #[cold]
    fn behind_more_space(&self, at: usize) -> usize {
        at + self.text.as_bytes()[at..].iter().take_while(|byte| **byte <= b' ').count()
    }

    /// The string that begins here.
    #[inline]
    fn string(&self, at: usize) -> Quoted<'a> {
        self.between([at, self.tokens.next(at + 1)])
    }

    /// The place of the name between two quotes among others.
    #[inline(never)]
    fn place(&self, quotes: [usize; 2], names: &[&str]) -> Option<usize> {
        let name = self.between(quotes).unescaped();
        names.iter().position(|asked| asked.len() == name.len() && **asked == *name)
    }

    /// What stands between two quotes.
    #[inline]
    fn between(&self, [opening, closing]: [usize; 2]) -> Quoted<'a> {
        Quoted { text: &self.text[opening + 1..closing], has_escapes: self.tokens.has_escapes(closing) }
    }
}

impl<'a, 'd> Value<'a, 'd> {
    #[inline]
    fn byte(self) -> u8 {
        self.document.byte(self.at as usize)
    }

    /// Its text.
    pub(crate) fn raw(self) -> Raw<'a> {
        Raw::known(&self.document.text[self.at as usize..self.end().0])
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
        (self.byte() == b'"').then(|| self.document.string(self.at as usize))
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
        let document = self.document;
        let mut members = [None; N];
        let mut next = 0;
        let mut rest = self.members();
        while let Some((member, value)) = rest.next_member() {
            let [opening, closing] = member.name.map(|quote| quote as usize);
            let name = &document.text.as_bytes()[opening + 1..closing];
            // Most often they come in the order asked.
            let is_next = names.get(next).is_some_and(|asked| asked.as_bytes() == name);
            let place = if is_next { Some(next) } else { document.place([opening, closing], &names) };
            if let Some(place) = place {
                members[place] = Some(value);
                next = place + 1;
            }
        }
        Some(members)
    }

    /// Its members, each with its name; of what is no object, none.
    pub(crate) fn members(self) -> Members<'a, 'd> {
        let Self { document, container, .. } = self;
        let members = if self.is_object() { document.tokens.container(container).members } else { [0; 2] };
        Members { document, members }
    }

    /// Its items; of what is no list, none.
    pub(crate) fn items(self) -> Items<'a, 'd> {
        Items(self.is_list().then(|| self.first_inside()).flatten())
    }

    /// What stands behind its opening bracket, unless that is the closing one.
    fn first_inside(self) -> Option<Self> {
        let at = self.document.behind_space(self.at as usize + 1);
        let is_empty = at as usize == self.end().0 - 1;
        (!is_empty).then_some(Self { at, container: self.container + 1, ..self })
    }

    /// Where it ends, and how many lists and objects begin before that.
    #[inline]
    fn end(self) -> (usize, u32) {
        let Self { document, at, container } = self;
        let at = at as usize;
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
        let comma = document.behind_space(end) as usize;
        (document.byte(comma) == b',').then(|| Self { document, at: document.behind_space(comma + 1), container })
    }
}

/// The members that are left of an object.
pub(crate) struct Members<'a, 'd> {
    document: &'d Document<'a, 'd>,
    /// The number of the next one, and of the first behind the object.
    members: [u32; 2],
}

impl<'a, 'd> Iterator for Members<'a, 'd> {
    type Item = (Quoted<'a>, Value<'a, 'd>);

    fn next(&mut self) -> Option<Self::Item> {
        let (member, value) = self.next_member()?;
        Some((self.document.between(member.name.map(|quote| quote as usize)), value))
    }
}

impl<'a, 'd> Members<'a, 'd> {
    #[inline]
    fn next_member(&mut self) -> Option<(Member, Value<'a, 'd>)> {
        let Self { document, members: [next, behind] } = *self;
        if next == behind {
            return None;
        }
        let member = document.tokens.member(next);
        let value = Value { document, at: member.value, container: member.container };
        self.members[0] = match value.byte() {
            b'{' | b'[' => document.tokens.container(member.container).members[1],
            _ => next + 1,
        };
        Some((member, value))
    }
}

/// The items that are left of a list.
pub(crate) struct Items<'a, 'd>(Option<Value<'a, 'd>>);

impl<'a, 'd> Iterator for Items<'a, 'd> {
    type Item = Value<'a, 'd>;

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
    /// The text that it stands for.
    #[inline]
    pub(crate) fn unescaped(self) -> Cow<'a, str> {
        if self.has_escapes { unescaped(self.text).into() } else { self.text.into() }
    }
}
