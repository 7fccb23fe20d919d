//! Splits a stream of bytes into documents, in bounded memory.

mod cursor;
mod document;

use std::io::{self, Read};

use serde::de::IgnoredAny;

use super::scanner::{Scanner, Step};
use super::window::Find;
use cursor::{Cursor, Found, Inside, MAX_WHOLE_LINE, Value, ValueEnd};
use document::BYTE_ORDER_MARK;
pub use document::{Document, Item, MAX_RECORD};

/// Reads the documents of an input: its lines, if each is a document; otherwise JSON values over several lines, items
/// of lists, and items of the lists in envelopes.
///
/// A broken document ends at the latest at a line that looks like the beginning of a new one, so that it does not
/// affect its neighbours.
pub struct Documents<R> {
    cursor: Cursor<R>,
    framing: Framing,
    lists: bool,
    state: State,
    /// Line and column of the outermost list or envelope.
    outermost: (u64, u64),
}

/// Assumption about lines that are not parsed yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// A line that looks like a document is one.
    Likely,
    /// There is no assumption.
    Unknown,
    /// Each line is a document, whatever it contains.
    Lines,
}

#[derive(Debug)]
enum State {
    /// At the beginning of a line.
    Line,
    /// After a document, on the same line.
    AfterDocument,
    /// In a list, before this item, with the scanner of the surrounding envelope.
    List(Item, Option<Scanner>),
    /// In an envelope, after a list in which this item would have been next.
    AfterList(Item, Scanner),
}

/// The position of the next document.
enum Next {
    Here(Value),
    /// After the current state.
    Further,
    Nowhere,
}

impl<R: Read> Documents<R> {
    /// Returns the documents of an input.
    pub fn new(input: R) -> Self {
        Self::with_buffer(input, Vec::new())
    }

    /// Returns the documents of an input like [`new`](Self::new), and reads into this buffer, so that many inputs can
    /// share one.
    pub fn with_buffer(input: R, buffer: Vec<u8>) -> Self {
        Self::with_max(input, MAX_RECORD, buffer)
    }

    /// Returns the buffer, which is as long as was needed.
    pub fn into_buffer(self) -> Vec<u8> {
        self.cursor.window.into_buffer()
    }

    fn with_max(input: R, max: usize, buffer: Vec<u8>) -> Self {
        Self {
            cursor: Cursor::new(input, max, buffer),
            framing: Framing::Likely,
            lists: true,
            state: State::Line,
            outermost: (1, 1),
        }
    }

    /// Returns the documents of an input, without assuming that lines which look like documents are documents.
    pub(super) fn parsed_lines(input: R) -> Self {
        Self { framing: Framing::Unknown, ..Self::new(input) }
    }

    /// Returns each line of an input as a document, as soon as its end was read. It contains all bytes of the line
    /// except the line feed.
    pub fn lines(input: R) -> Self {
        Self { framing: Framing::Lines, ..Self::new(input) }
    }

    /// Returns the documents of an input. Lines are parsed, and envelopes stay documents.
    pub(super) fn concatenated(input: R) -> Self {
        Self { lists: false, ..Self::parsed_lines(input) }
    }

    /// Returns the line up to which documents were returned.
    pub fn line(&self) -> u64 {
        self.cursor.window.position(0).0
    }

    /// Returns the next document as soon as its end was read, and `None` at the end of the input.
    ///
    /// # Errors
    /// The input cannot be read any further. All documents up to there were returned.
    pub fn next_document(&mut self) -> io::Result<Option<Document<'_>>> {
        self.cursor.window.consume(std::mem::take(&mut self.cursor.given));
        let (value, item) = loop {
            let (next, item) = match std::mem::replace(&mut self.state, State::Line) {
                State::Line => (self.line_or_value(), None),
                State::AfterDocument => (self.end_line(), None),
                State::List(item, around) => (self.item(item, around), Some(item)),
                State::AfterList(item, scanner) => (self.after_list(item, scanner), Some(item)),
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

    /// Returns the document at the beginning of a line: the line itself, unless it is only a part of a document or
    /// contains several.
    fn line_or_value(&mut self) -> Next {
        if self.cursor.window.bytes().is_empty() && !self.cursor.window.read_more() {
            return Next::Nowhere;
        }
        if self.framing == Framing::Lines {
            return self.whole_line();
        }
        let mut end = self.cursor.window.line_end(0, MAX_WHOLE_LINE);
        if self.cursor.window.bytes().starts_with(BYTE_ORDER_MARK) {
            self.cursor.window.skip(BYTE_ORDER_MARK.len());
            end = self.cursor.window.line_end(0, MAX_WHOLE_LINE);
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
            // The next item of a list that began in a line which seemed to be complete.
            Some(b',') if text[1..].trim_ascii_start().starts_with(b"{") => {
                self.cursor.window.consume(offset + 1);
                Next::Further
            }
            Some(b'{')
                if !(self.framing == Framing::Likely
                    && end != Find::Further
                    && text.trim_ascii_end().ends_with(b"}")) =>
            {
                self.state = State::AfterDocument;
                self.value(offset, offset, true)
            }
            _ => self.whole_line(),
        }
    }

    /// Returns the value at an offset of the window. If `top` is set, no list is around it, and an object with a list
    /// of records becomes its list.
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
                    // Not more, because the window may have the line's end and other lines behind it.
                    value.end += self.cursor.max;
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

    /// Skips the rest of the line after a document, which is usually empty.
    fn end_line(&mut self) -> Next {
        loop {
            match self.cursor.window.bytes().first().copied() {
                Some(b' ' | b'\t' | b'\r' | b',') => self.cursor.window.consume(1),
                Some(b'\n') => {
                    self.cursor.window.consume(1);
                    return Next::Further;
                }
                Some(_) => return Next::Further,
                None if self.cursor.window.read_more() => {}
                None => return Next::Nowhere,
            }
        }
    }

    fn item(&mut self, item: Item, mut around: Option<Scanner>) -> Next {
        // The column of the item if it is the first on its line, otherwise that of the outermost list or envelope.
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
                        None => State::AfterDocument,
                        Some(mut scanner) => {
                            scanner.feed(b"]");
                            State::AfterList(item, scanner)
                        }
                    };
                    self.cursor.window.consume(1);
                    return Next::Further;
                }
                Some(_) => break,
                None if self.cursor.window.read_more() => continue,
                None => return Next::Here(self.missing()),
            }
            self.cursor.window.consume(1);
        }
        self.state = State::List(Item { index: item.index + 1, ..item }, around);
        self.value(0, column, false)
    }

    /// Skips the rest of an envelope after its list, up to the envelope's end or another list in it.
    fn after_list(&mut self, around: Item, mut scanner: Scanner) -> Next {
        loop {
            match scanner.feed(self.cursor.window.bytes()) {
                Step::More => {
                    self.cursor.window.consume(self.cursor.window.bytes().len());
                    if !self.cursor.window.read_more() {
                        return Next::Here(self.missing());
                    }
                }
                Step::End(end) => {
                    self.cursor.window.consume(end);
                    self.state = State::AfterDocument;
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
                    if self.cursor.begins_document(0, 0, inside) {
                        return Next::Here(self.missing());
                    }
                }
            }
        }
    }

    /// Returns an empty value in place of the missing end of a list or envelope, so that it is reported as a record.
    fn missing(&self) -> Value {
        self.cursor.value_at(0)
    }
}

/// Returns whether a line begins with a prefix in brackets and ends with an object, as `kubectl logs --prefix` writes
/// it, and does not begin a list.
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
