//! Documents out of a stream of bytes, in bounded memory.

mod cursor;
mod document;

use std::io::{self, Read};

use serde::de::IgnoredAny;

use super::scanner::{Scanner, Step};
use super::window::Find;
use cursor::{Cursor, Found, Inside, LINE, Value, ValueEnd};
use document::BYTE_ORDER_MARK;
pub use document::{Document, Item, MAX_RECORD};

/// Reads the documents of an input: its lines, where each is one; else JSON values over several lines, the items of lists,
/// and those of the lists in envelopes.
///
/// A document that is broken ends at the latest where a line begins like a new one, so that it costs its neighbours
/// nothing.
pub struct Documents<R> {
    cursor: Cursor<R>,
    framing: Framing,
    lists: bool,
    state: State,
    /// Line and column of the outermost list or envelope.
    outermost: (u64, u64),
}

/// What is known of lines before they are looked into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// One that looks like a document is one.
    Likely,
    /// Nothing.
    Unknown,
    /// Each is one, whatever it holds.
    Lines,
}

#[derive(Debug)]
enum State {
    /// Where a line begins.
    Line,
    /// Behind a document, on its line.
    Behind,
    /// In a list, before this item; with what the scanner knows of the envelope around it.
    List(Item, Option<Scanner>),
    /// In an envelope, behind its list, which would have had this item next.
    Around(Item, Scanner),
}

/// Where the next document is.
enum Next {
    Here(Value),
    /// Not before the state that has now been reached.
    Further,
    Nowhere,
}

impl<R: Read> Documents<R> {
    /// The documents of an input.
    pub fn new(input: R) -> Self {
        Self::with_max(input, MAX_RECORD)
    }

    fn with_max(input: R, max: usize) -> Self {
        Self {
            cursor: Cursor::new(input, max),
            framing: Framing::Likely,
            lists: true,
            state: State::Line,
            outermost: (1, 1),
        }
    }

    /// The documents of an input whose lines are looked into even where they seem to be one document each.
    pub(super) fn inside(input: R) -> Self {
        Self { framing: Framing::Unknown, ..Self::new(input) }
    }

    /// Each line of an input as a document of its own, as soon as its end has been read: with all of its bytes, whatever they
    /// are, except the line feed.
    pub fn lines(input: R) -> Self {
        Self { framing: Framing::Lines, ..Self::new(input) }
    }

    /// The documents of an input whose lines are looked into, and envelopes are left as they are.
    pub(super) fn one_after_the_other(input: R) -> Self {
        Self { lists: false, ..Self::inside(input) }
    }

    /// The line up to which the input has been given out.
    pub fn line(&self) -> u64 {
        self.cursor.window.position(0).0
    }

    /// The next document, as soon as its end has been read; none at the end of the input.
    ///
    /// # Errors
    /// The input cannot be read any further; what was read of it has been given out.
    pub fn next_document(&mut self) -> io::Result<Option<Document<'_>>> {
        self.cursor.window.consume(std::mem::take(&mut self.cursor.given));
        let (value, item) = loop {
            let (next, item) = match std::mem::replace(&mut self.state, State::Line) {
                State::Line => (self.line_or_value(), None),
                State::Behind => (self.end_line(), None),
                State::List(item, around) => (self.item(item, around), Some(item)),
                State::Around(item, scanner) => (self.after_list(item, scanner), Some(item)),
            };
            match next {
                Next::Here(value) => break (value, item),
                Next::Further => {}
                Next::Nowhere => return self.cursor.window.take_error().map_or(Ok(None), Err),
            }
        };
        self.cursor.given = value.end.max(self.cursor.given);
        let bytes = &self.cursor.window.bytes()[value.offset..value.end];
        let bytes = if self.framing == Framing::Lines { bytes } else { bytes.trim_ascii_end() };
        let length = value.gone + bytes.len() as u64;
        let bytes = if value.gone > 0 { &self.cursor.beginning } else { bytes };
        let Value { line, column, .. } = value;
        let column = match item {
            None => column,
            Some(_) if line == self.outermost.0 => self.outermost.1,
            Some(_) => 1,
        };
        Ok(Some(Document { bytes, length, line, column, item }))
    }

    /// The document that begins with a line: the line, unless that is a part or a list of documents.
    fn line_or_value(&mut self) -> Next {
        if self.cursor.window.bytes().is_empty() && !self.cursor.window.more() {
            return Next::Nowhere;
        }
        if self.framing == Framing::Lines {
            return self.whole_line();
        }
        let mut end = self.cursor.window.line_end(0, LINE);
        if self.cursor.window.bytes().starts_with(BYTE_ORDER_MARK) {
            self.cursor.window.pass_over(BYTE_ORDER_MARK.len());
            end = self.cursor.window.line_end(0, LINE);
        }
        let bytes = self.cursor.window.bytes();
        let line = if let Find::At(end) = end { &bytes[..end] } else { bytes };
        let text = line.trim_ascii_start();
        let offset = line.len() - text.len();
        self.outermost = self.cursor.window.position(offset);
        match text.first() {
            Some(b'[') if !(end != Find::Further && is_prefix(text)) => {
                self.cursor.window.consume(offset + 1);
                self.state = State::List(Item { list: None, index: 0, of_audit_list: false }, None);
                Next::Further
            }
            // The next item of a list that began in a line which seemed to be whole.
            Some(b',') if text[1..].trim_ascii_start().starts_with(b"{") => {
                self.cursor.window.consume(offset + 1);
                Next::Further
            }
            Some(b'{')
                if !(self.framing == Framing::Likely
                    && end != Find::Further
                    && text.trim_ascii_end().ends_with(b"}")) =>
            {
                self.state = State::Behind;
                self.value(offset, offset, true)
            }
            _ => self.whole_line(),
        }
    }

    /// The value at an offset of the window. `top` says that nothing is around it: an object that has a list of records then
    /// becomes its list.
    fn value(&mut self, offset: usize, column: usize, top: bool) -> Next {
        match self.cursor.value(offset, column, top && self.lists) {
            Found::List(item, scanner) => {
                self.state = State::List(item, Some(scanner));
                Next::Further
            }
            Found::Value(value, end) => {
                if end == ValueEnd::Input || (end == ValueEnd::Broken && top) {
                    self.state = State::Line;
                }
                Next::Here(value)
            }
        }
    }

    fn whole_line(&mut self) -> Next {
        let mut value = self.cursor.value_at(0);
        loop {
            match self.cursor.window.line_end(value.end, self.cursor.max) {
                Find::At(end) => {
                    value.end = end;
                    self.cursor.given = end + 1;
                    break;
                }
                Find::Further => {
                    value.end = self.cursor.window.bytes().len();
                    self.cursor.cut(&mut value);
                }
                Find::Nowhere => {
                    value.end = self.cursor.window.bytes().len();
                    break;
                }
            }
        }
        self.cursor.cut(&mut value);
        Next::Here(value)
    }

    /// The rest of the line behind a document: nothing, mostly.
    fn end_line(&mut self) -> Next {
        loop {
            match self.cursor.window.bytes().first().copied() {
                Some(b' ' | b'\t' | b'\r' | b',') => self.cursor.window.consume(1),
                Some(b'\n') => {
                    self.cursor.window.consume(1);
                    return Next::Further;
                }
                Some(_) => return Next::Further,
                None if self.cursor.window.more() => {}
                None => return Next::Nowhere,
            }
        }
    }

    fn item(&mut self, item: Item, mut around: Option<Scanner>) -> Next {
        // The column of the item, if nothing is before it on its line, else of what is around all.
        let outermost = usize::try_from(self.outermost.1 - 1).unwrap_or(usize::MAX);
        let mut column = outermost;
        loop {
            match self.cursor.window.bytes().first().copied() {
                Some(b'\n') => column = 0,
                Some(b' ' | b'\t') => column += 1,
                Some(b'\r') => {}
                Some(b',') => column = outermost,
                Some(b']') => {
                    self.state = match around.take() {
                        None => State::Behind,
                        Some(mut scanner) => {
                            scanner.feed(b"]");
                            State::Around(item, scanner)
                        }
                    };
                    self.cursor.window.consume(1);
                    return Next::Further;
                }
                Some(_) => break,
                None if self.cursor.window.more() => continue,
                None => return Next::Here(self.missing()),
            }
            self.cursor.window.consume(1);
        }
        self.state = State::List(Item { index: item.index + 1, ..item }, around);
        self.value(0, column, false)
    }

    /// What follows the list of an envelope, up to the envelope's end or another list of its.
    fn after_list(&mut self, around: Item, mut scanner: Scanner) -> Next {
        loop {
            match scanner.feed(self.cursor.window.bytes()) {
                Step::More => {
                    self.cursor.window.consume(self.cursor.window.bytes().len());
                    if !self.cursor.window.more() {
                        return Next::Here(self.missing());
                    }
                }
                Step::End(end) => {
                    self.cursor.window.consume(end);
                    self.state = State::Behind;
                    return Next::Further;
                }
                Step::List(list) => {
                    self.cursor.window.consume(list);
                    self.state = State::List(Item { list: scanner.list(), index: 0, ..around }, Some(scanner));
                    return Next::Further;
                }
                Step::Line(line) => {
                    self.cursor.window.consume(line);
                    let inside = Inside { last: scanner.last(), ..Inside::default() };
                    if self.cursor.begins_anew(0, 0, inside) {
                        return Next::Here(self.missing());
                    }
                }
            }
        }
    }

    /// What stands for a record where the input ends before its list or envelope does.
    fn missing(&self) -> Value {
        self.cursor.value_at(0)
    }
}

/// Whether a line has something in brackets before the object with which it ends, as `kubectl logs --prefix` writes it, and does
/// not begin a list.
fn is_prefix(line: &[u8]) -> bool {
    let inside = line[1..].trim_ascii_start();
    let begins_list = inside.first().is_none_or(|first| b"{[\"]".contains(first));
    if begins_list || !line.trim_ascii_end().ends_with(b"}") {
        return false;
    }
    memchr::memchr(b']', line).is_some_and(|end| serde_json::from_slice::<IgnoredAny>(&line[..=end]).is_err())
}

#[cfg(test)]
mod tests;
