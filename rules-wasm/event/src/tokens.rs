//! Where everything stands in a JSON text: one pass over its bytes that validates all of it, and from which any value in it
//! is found without reading the text again.
//!
//! Two steps, as simdjson has them (Langdale and Lemire, "Parsing Gigabytes of JSON per Second", 2019): first the places of
//! quotes and brackets, 64 bytes at a time and without a branch for what they are; then the grammar, from place to place.
//! Neither recurses: depth costs memory, never the stack.

use crate::block::{BLOCK, blocks};
use crate::scalar::{is_scalar, scalar_length};
use crate::strings::Strings;

/// Room in containers that stays when a text has been read: more than a text of a MiB needs that nobody means to hurt with.
const KEPT: usize = 1 << 16;

/// The room that a text of more bytes needs is counted before it is taken.
const LONG: usize = 64 << 10;

/// No container: what is around the outermost value.
const NONE: u32 = u32::MAX;

/// The tokens of one text: its quotes and brackets. Kept from text to text, they are read into the same room.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// For each block, its tokens as bits: brackets, and both quotes of every string.
    found: Vec<u64>,
    /// For each block, the closing quotes of strings with escapes in them.
    escapes: Vec<u64>,
    /// How many blocks the text has; there may have been longer ones.
    blocks: usize,
    /// Lists and objects, by where they begin.
    containers: Vec<Container>,
    /// The members of all objects, by where they begin.
    members: Vec<Member>,
}

/// A list or an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Container {
    /// Where its closing bracket is; while that has not been seen, the number of the container around it.
    pub(crate) end: u32,
    /// How many containers begin before it ends; until then, its opening bracket.
    pub(crate) behind: u32,
    /// How many members begin before it does, and before it ends.
    pub(crate) members: [u32; 2],
}

/// A member of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    /// Where the quotes of its name are.
    pub(crate) name: [u32; 2],
    /// Where its value begins.
    pub(crate) value: u32,
    /// How many containers begin before its value.
    pub(crate) container: u32,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    /// A value, or the end of an empty list.
    FirstItem,
    Name,
    /// A name, or the end of an empty object.
    FirstName,
    Colon,
    /// A comma, or the end of what is around.
    Behind,
}

impl Tokens {
    /// Reads a text; whether it is one JSON value (RFC 8259), of less than 4 GiB.
    pub(crate) fn read(&mut self, text: &[u8]) -> bool {
        if self.containers.capacity() > KEPT || self.members.capacity() > KEPT {
            *self = Self::default();
        }
        u32::try_from(text.len()).is_ok_and(|length| length < NONE) && self.find(text) && self.check(text) == Some(true)
    }

    /// The place of the first token from a place on; the text is JSON, and there is one.
    #[inline]
    pub(crate) fn next(&self, at: usize) -> usize {
        let mut block = at / BLOCK;
        let mut tokens = self.found[block] & (u64::MAX << (at % BLOCK));
        while tokens == 0 {
            block += 1;
            tokens = self.found[block];
        }
        block * BLOCK + tokens.trailing_zeros() as usize
    }

    /// Whether the string with this closing quote has escapes in it.
    #[inline]
    pub(crate) fn has_escapes(&self, closing: usize) -> bool {
        self.escapes[closing / BLOCK] >> (closing % BLOCK) & 1 == 1
    }

    /// A list or object, by its number in the order in which they begin.
    #[inline]
    pub(crate) fn container(&self, number: u32) -> Container {
        self.containers[number as usize]
    }

    /// A member, by its number in the order in which they begin.
    #[inline]
    pub(crate) fn member(&self, number: u32) -> Member {
        self.members[number as usize]
    }

    /// Finds the tokens; whether strings are strings.
    fn find(&mut self, text: &[u8]) -> bool {
        let (whole, last) = blocks(text);
        let count = whole.len() + 1;
        if self.found.len() < count {
            self.found.resize(count, 0);
            self.escapes.resize(count, 0);
        }
        self.blocks = count;
        let mut strings = Strings::default();
        let rooms = self.found.iter_mut().zip(&mut self.escapes);
        for ((number, block), (found, escapes)) in whole.iter().chain([&last]).enumerate().zip(rooms) {
            (*found, *escapes) = strings.tokens(block, text, number * BLOCK);
        }
        strings.are_right()
    }

    /// Whether the tokens are one JSON value; none where what stands between two of them is nothing that may.
    fn check(&mut self, text: &[u8]) -> Option<bool> {
        let Self { found, containers, members, .. } = self;
        let found = &found[..self.blocks];
        containers.clear();
        members.clear();
        if text.len() > LONG {
            // To grow is to have the old room and the new at once, which a rule has no memory for.
            let tokens = || places(found).map(|at| text.get(at));
            containers.reserve_exact(tokens().filter(|byte| matches!(byte, Some(b'{' | b'['))).count());
            members.reserve_exact(tokens().filter(|byte| matches!(byte, Some(b'"'))).count() / 2);
        }
        let mut cursor = Cursor { found, block: 0, tokens: found[0], end: text.len() };
        // The container that the next token is in.
        let mut around = NONE;
        let mut in_object = false;
        // The next token, and what it may be.
        let mut at = cursor.next();
        let mut next = between(&text[..at], State::Value, false, false)?;
        loop {
            let mut byte = text.get(at).copied().unwrap_or(0);
            if byte == b'"' && matches!(next, State::Name | State::FirstName) {
                let name = at;
                let from = cursor.next() + 1;
                at = cursor.next();
                let mut member = Member {
                    name: [short(name), short(from - 1)],
                    value: short(at),
                    container: short(containers.len()),
                };
                if at - from != 1 || text[from] != b':' {
                    next = between(&text[from..at], State::Colon, true, true)?;
                    let behind_colon = from + spaces(&text[from..at]) + 1;
                    member.value = short(behind_colon + spaces(text.get(behind_colon..).unwrap_or_default()));
                    members.push(member);
                    continue;
                }
                members.push(member);
                next = State::Value;
                byte = text.get(at).copied().unwrap_or(0);
            }
            let from = match (byte, next) {
                (b'"', State::Value | State::FirstItem) => cursor.next() + 1,
                (b'{' | b'[', State::Value | State::FirstItem) => {
                    let number = short(containers.len());
                    containers.push(Container {
                        end: around,
                        behind: u32::from(byte),
                        members: [short(members.len()); 2],
                    });
                    around = number;
                    in_object = byte == b'{';
                    let from = at + 1;
                    at = cursor.next();
                    let first = if in_object { State::FirstName } else { State::FirstItem };
                    next = if at == from { first } else { between(&text[from..at], first, true, in_object)? };
                    continue;
                }
                (b'}', State::Behind | State::FirstName) if in_object => {
                    (around, in_object) = close(containers, members.len(), around, at);
                    at + 1
                }
                (b']', State::Behind | State::FirstItem) if !in_object && around != NONE => {
                    (around, in_object) = close(containers, members.len(), around, at);
                    at + 1
                }
                // A number or a word has been behind the last token; or this is the end.
                _ => return Some(next == State::Behind && around == NONE && at == text.len()),
            };
            at = cursor.next();
            next = if at == from {
                State::Behind
            } else if at - from == 1 && text[from] == b',' && around != NONE {
                after_comma(in_object)
            } else {
                between(&text[from..at], State::Behind, around != NONE, in_object)?
            };
        }
    }
}

/// The places of all tokens.
fn places(found: &[u64]) -> impl Iterator<Item = usize> {
    found.iter().enumerate().flat_map(|(block, tokens)| {
        let mut tokens = *tokens;
        std::iter::from_fn(move || {
            let at = (tokens != 0).then(|| block * BLOCK + tokens.trailing_zeros() as usize)?;
            tokens &= tokens - 1;
            Some(at)
        })
    })
}

/// Goes from token to token.
struct Cursor<'f> {
    found: &'f [u64],
    block: usize,
    /// Of the block, those that are left.
    tokens: u64,
    /// Where the text ends.
    end: usize,
}

impl Cursor<'_> {
    /// The place of the next token; the text's end behind the last one.
    #[inline]
    fn next(&mut self) -> usize {
        while self.tokens == 0 {
            self.block += 1;
            match self.found.get(self.block) {
                Some(tokens) => self.tokens = *tokens,
                None => return self.end,
            }
        }
        let at = self.block * BLOCK + self.tokens.trailing_zeros() as usize;
        self.tokens &= self.tokens - 1;
        at
    }
}

/// A place in the text, or a number of what is in it: no more than the text's length, which has been looked at.
#[inline]
pub(crate) fn short(number: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "it is no more than what fits")]
    {
        number as u32
    }
}

/// How much white space there is at the beginning.
#[inline]
fn spaces(bytes: &[u8]) -> usize {
    let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    bytes.iter().take_while(is_space).count()
}

/// Closes a container; what is around it, and whether that is an object.
#[inline]
fn close(containers: &mut [Container], members: usize, number: u32, at: usize) -> (u32, bool) {
    let behind = short(containers.len());
    let container = &mut containers[number as usize];
    let around = container.end;
    *container = Container { end: short(at), behind, members: [container.members[0], short(members)] };
    let in_object = containers.get(around as usize).is_some_and(|around| around.behind == u32::from(b'{'));
    (around, in_object)
}

fn after_comma(in_object: bool) -> State {
    if in_object { State::Name } else { State::Value }
}

/// What may come behind the bytes between two tokens: white space, colons, commas, numbers and words.
#[cold]
fn between(bytes: &[u8], state: State, in_container: bool, in_object: bool) -> Option<State> {
    let mut state = state;
    let mut rest = bytes;
    while let [byte, behind @ ..] = rest {
        rest = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => behind,
            b':' if state == State::Colon => {
                state = State::Value;
                behind
            }
            b',' if state == State::Behind && in_container => {
                state = after_comma(in_object);
                behind
            }
            _ if matches!(state, State::Value | State::FirstItem) => {
                let (scalar, behind) = rest.split_at(scalar_length(rest));
                if !is_scalar(scalar) {
                    return None;
                }
                state = State::Behind;
                behind
            }
            _ => return None,
        };
    }
    Some(state)
}
