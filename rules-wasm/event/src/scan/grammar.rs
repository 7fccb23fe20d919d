//! Validates a text from token to token, whatever is between them.

use super::block::BLOCK;
use super::block_tokens::Block;
use super::containers::{Containers, NONE};
use super::scalar::{is_scalar, is_space, scalar_length};

/// For a text of more bytes, the containers are counted before memory for them is allocated.
const LONG: usize = 64 << 10;

/// Number of containers that most events have at most. Growing to this capacity step by step would take a rule longer
/// than filling it.
const ENOUGH: usize = 64;

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
    /// A comma, or the end of the container.
    Behind,
}

/// Whether a text is one JSON value, given the tokens of its blocks. Its strings were validated before.
pub(crate) fn is_json(text: &[u8], blocks: &[Block], containers: &mut Containers) -> bool {
    walk(text, blocks, containers).unwrap_or(false)
}

/// [`is_json`], or `None` if there is something invalid between two tokens.
fn walk(text: &[u8], blocks: &[Block], containers: &mut Containers) -> Option<bool> {
    if text.len() > LONG {
        // While a vector grows, its old and its new memory exist at once, which is too much for a rule's memory.
        let mut cursor = Cursor::new(text, blocks);
        let tokens = std::iter::from_fn(|| text.get(cursor.next()));
        containers.all.reserve_exact(tokens.filter(|byte| matches!(byte, b'{' | b'[')).count());
    } else {
        containers.all.reserve(ENOUGH);
    }
    let mut cursor = Cursor::new(text, blocks);
    // The next token's place, and what the token may be.
    let mut at = cursor.next();
    let mut next = between(&text[..at], State::Value, containers)?;
    loop {
        let byte = text.get(at).copied().unwrap_or(0);
        let mut from = at + 1;
        next = match (byte, next) {
            (b'"', State::Value | State::FirstItem) => {
                from = cursor.next() + 1;
                State::Behind
            }
            (b'"', State::Name | State::FirstName) => {
                from = cursor.next() + 1;
                State::Colon
            }
            (b'{' | b'[', State::Value | State::FirstItem) => {
                containers.open(byte);
                if byte == b'{' { State::FirstName } else { State::FirstItem }
            }
            (b'}', State::Behind | State::FirstName) | (b']', State::Behind | State::FirstItem)
                if containers.close(byte, at) =>
            {
                State::Behind
            }
            // A number or a word was after the last token, or this is the end of the text.
            _ => return Some(next == State::Behind && containers.around == NONE && at == text.len()),
        };
        at = cursor.next();
        next = match (&text[from..at], next) {
            ([], _) => next,
            ([b':'], State::Colon) => State::Value,
            ([b','], State::Behind) if containers.around != NONE => after_comma(containers),
            (bytes, _) => between(bytes, next, containers)?,
        };
    }
}

/// Iterates over the tokens.
struct Cursor<'b> {
    blocks: &'b [Block],
    block: usize,
    /// The tokens that are left of the block.
    tokens: u64,
    /// The length of the text.
    end: usize,
}

impl<'b> Cursor<'b> {
    fn new(text: &[u8], blocks: &'b [Block]) -> Self {
        Self { blocks, block: 0, tokens: blocks[0].tokens, end: text.len() }
    }

    /// Returns the place of the next token, or the length of the text after the last one.
    #[inline]
    fn next(&mut self) -> usize {
        while self.tokens == 0 {
            self.block += 1;
            match self.blocks.get(self.block) {
                Some(block) => self.tokens = block.tokens,
                None => return self.end,
            }
        }
        let at = self.block * BLOCK + self.tokens.trailing_zeros() as usize;
        self.tokens &= self.tokens - 1;
        at
    }
}

fn after_comma(containers: &Containers) -> State {
    if containers.in_object { State::Name } else { State::Value }
}

/// Reads the bytes between two tokens: white space, colons, commas, numbers and words. Returns what may come next, or
/// `None` if they are invalid.
#[cold]
fn between(bytes: &[u8], state: State, containers: &Containers) -> Option<State> {
    let mut state = state;
    let mut rest = bytes;
    while let [byte, behind @ ..] = rest {
        rest = match byte {
            _ if is_space(*byte) => behind,
            b':' if state == State::Colon => {
                state = State::Value;
                behind
            }
            b',' if state == State::Behind && containers.around != NONE => {
                state = after_comma(containers);
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
