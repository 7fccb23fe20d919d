//! Documents out of a stream of bytes, in bounded memory.

use std::io::{self, Read};

use serde::de::IgnoredAny;

use super::cloudwatch;
use super::value::{Scanner, Step};
use super::window::{Find, Window};

/// The longest record in bytes; a longer one is rejected, so that memory is bounded whatever the input is. A
/// kube-apiserver's largest are a few MiB.
pub const MAX_RECORD: usize = 64 << 20;

/// Of a record that is too long, this much is kept: enough to see what it was.
const KEPT: usize = 64 << 10;

/// A line of JSON of at most this many bytes is taken as a whole; a longer one is looked into as it is read.
const LINE: usize = 1 << 20;

/// What some writers put before the first byte of a file of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads the documents of an input: its lines, where each is one; else JSON values over several lines, the items of lists,
/// and those of the lists in wrappings.
///
/// A document that is broken ends at the latest where a line begins like a new one, so that it costs its neighbours
/// nothing.
pub struct Documents<R> {
    window: Window<R>,
    max: usize,
    whole_lines: bool,
    lists: bool,
    started: bool,
    state: State,
    /// Of the window's bytes, those up to the end of the document that was given out last.
    given: usize,
    /// Line and column of the outermost list or wrapping.
    outermost: (u64, u64),
    /// The beginning of a document that is too long.
    beginning: Vec<u8>,
}

/// A text that should be a record, or a wrapping of records.
#[derive(Debug, PartialEq, Eq)]
pub struct Document<'d> {
    /// Its bytes, or the first of them.
    pub bytes: &'d [u8],
    /// Its length in the input, in bytes: more than there are bytes if it was cut.
    pub length: u64,
    /// The line in which it begins, from 1.
    pub line: u64,
    /// The byte of that line at which it begins, from 1; for an item, at which the document around it does, if that is in
    /// the same line.
    pub column: u64,
    /// Which item it is, if it was one of a list.
    pub item: Option<Item>,
}

/// An item of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The list's name, if it is a member of a wrapping.
    pub list: Option<&'static str>,
    /// The item's number, from 0.
    pub index: u64,
}

#[derive(Debug)]
enum State {
    /// Where a line begins.
    Line,
    /// Behind a document, on its line.
    Behind,
    /// In a list, before this item; with what the scanner knows of the wrapping around it.
    List(Item, Option<Scanner>),
    /// In a wrapping, behind its list, which would have had this item next.
    Around(Item, Scanner),
}

/// Where the next document is.
enum Next {
    Here(Value),
    /// Not before the state that has now been reached.
    Further,
    Nowhere,
}

/// A value in the window.
struct Value {
    line: u64,
    column: u64,
    offset: usize,
    end: usize,
    /// How much of it is gone from the window, because it is too long.
    gone: u64,
}

impl<R: Read> Documents<R> {
    /// The documents of an input.
    pub fn new(input: R) -> Self {
        Self::with_max(input, MAX_RECORD)
    }

    fn with_max(input: R, max: usize) -> Self {
        Self {
            window: Window::new(input),
            max,
            whole_lines: true,
            lists: true,
            started: false,
            state: State::Line,
            given: 0,
            outermost: (1, 1),
            beginning: Vec::new(),
        }
    }

    /// The documents of an input whose lines are looked into even where they seem to be one document each.
    pub(super) fn inside(input: R) -> Self {
        Self { whole_lines: false, ..Self::new(input) }
    }

    /// The same, and wrappings are left as they are.
    pub(super) fn one_after_the_other(input: R) -> Self {
        Self { lists: false, ..Self::inside(input) }
    }

    /// The line up to which the input has been given out.
    pub fn line(&self) -> u64 {
        self.window.position(0).0
    }

    /// The next document, as soon as its end has been read; none at the end of the input.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn next_document(&mut self) -> io::Result<Option<Document<'_>>> {
        self.window.consume(std::mem::take(&mut self.given));
        if !std::mem::replace(&mut self.started, true) {
            self.pass_over_mark()?;
        }
        let (value, item) = loop {
            let (next, item) = match std::mem::replace(&mut self.state, State::Line) {
                State::Line => (self.line_or_value()?, None),
                State::Behind => (self.end_line()?, None),
                State::List(item, around) => (self.item(item, around)?, Some(item)),
                State::Around(item, scanner) => (self.rest(scanner)?, Some(item)),
            };
            match next {
                Next::Here(value) => break (value, item),
                Next::Further => {}
                Next::Nowhere => return Ok(None),
            }
        };
        self.given = value.end.max(self.given);
        let bytes = self.window.bytes()[value.offset..value.end].trim_ascii_end();
        let length = value.gone + bytes.len() as u64;
        let bytes = if value.gone > 0 { &self.beginning } else { bytes };
        let Value { line, column, .. } = value;
        let column = match item {
            None => column,
            Some(_) if line == self.outermost.0 => self.outermost.1,
            Some(_) => 1,
        };
        Ok(Some(Document { bytes, length, line, column, item }))
    }

    fn pass_over_mark(&mut self) -> io::Result<()> {
        let cut = |bytes: &[u8]| bytes.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(bytes);
        while cut(self.window.bytes()) && self.window.more()? {}
        if self.window.bytes().starts_with(BYTE_ORDER_MARK) {
            self.window.pass_over(BYTE_ORDER_MARK.len());
        }
        Ok(())
    }

    /// The document that begins with a line: the line, unless that is a part or a list of documents.
    fn line_or_value(&mut self) -> io::Result<Next> {
        if self.window.bytes().is_empty() && !self.window.more()? {
            return Ok(Next::Nowhere);
        }
        let end = self.window.find(b'\n', 0, LINE)?;
        let bytes = self.window.bytes();
        let line = if let Find::At(end) = end { &bytes[..end] } else { bytes };
        let text = line.trim_ascii_start();
        let offset = line.len() - text.len();
        self.outermost = self.window.position(offset);
        match text.first() {
            Some(b'[') => {
                self.window.consume(offset + 1);
                self.state = State::List(Item { list: None, index: 0 }, None);
                Ok(Next::Further)
            }
            Some(b'{') if !(self.whole_lines && end != Find::Further && text.trim_ascii_end().ends_with(b"}")) => {
                self.state = State::Behind;
                self.value(offset, offset, true)
            }
            _ => self.whole_line(),
        }
    }

    fn whole_line(&mut self) -> io::Result<Next> {
        let mut value = self.value_at(0);
        loop {
            match self.window.find(b'\n', value.end, self.max)? {
                Find::At(end) => {
                    value.end = end;
                    self.given = end + 1;
                    break;
                }
                Find::Further => {
                    value.end = self.window.bytes().len();
                    self.cut(&mut value);
                }
                Find::Nowhere => {
                    value.end = self.window.bytes().len();
                    break;
                }
            }
        }
        self.cut(&mut value);
        Ok(Next::Here(value))
    }

    /// The rest of the line behind a document: nothing, mostly.
    fn end_line(&mut self) -> io::Result<Next> {
        loop {
            match self.window.bytes().first().copied() {
                Some(b' ' | b'\t' | b'\r' | b',') => self.window.consume(1),
                Some(b'\n') => {
                    self.window.consume(1);
                    return Ok(Next::Further);
                }
                Some(_) => return Ok(Next::Further),
                None if self.window.more()? => {}
                None => return Ok(Next::Nowhere),
            }
        }
    }

    fn item(&mut self, item: Item, mut around: Option<Scanner>) -> io::Result<Next> {
        // The column of the item, if nothing is before it on its line, else of what is around all.
        let outermost = usize::try_from(self.outermost.1 - 1).unwrap_or(usize::MAX);
        let mut column = outermost;
        loop {
            match self.window.bytes().first().copied() {
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
                    self.window.consume(1);
                    return Ok(Next::Further);
                }
                Some(_) => break,
                None if self.window.more()? => continue,
                None => return Ok(Next::Here(self.missing())),
            }
            self.window.consume(1);
        }
        self.state = State::List(Item { index: item.index + 1, ..item }, around);
        self.value(0, column, false)
    }

    /// What follows the list of a wrapping, up to the wrapping's end or another list of its.
    fn rest(&mut self, mut scanner: Scanner) -> io::Result<Next> {
        loop {
            match scanner.feed(self.window.bytes()) {
                Step::More => {
                    self.window.consume(self.window.bytes().len());
                    if !self.window.more()? {
                        return Ok(Next::Here(self.missing()));
                    }
                }
                Step::End(end) => {
                    self.window.consume(end);
                    self.state = State::Behind;
                    return Ok(Next::Further);
                }
                Step::List(list) => {
                    self.window.consume(list);
                    self.state = State::List(Item { list: scanner.list(), index: 0 }, Some(scanner));
                    return Ok(Next::Further);
                }
                Step::Line(line) => {
                    self.window.consume(line);
                    if self.begins_anew(0, 0, scanner.last())? {
                        return Ok(Next::Here(self.missing()));
                    }
                }
            }
        }
    }

    /// The value at an offset. If it is at the top, and an object that has a list of records, then its list.
    fn value(&mut self, offset: usize, column: usize, top: bool) -> io::Result<Next> {
        let mut scanner = Scanner::default();
        let mut value = self.value_at(offset);
        loop {
            match scanner.feed(&self.window.bytes()[value.end..]) {
                Step::More => {
                    value.end = self.window.bytes().len();
                    self.cut(&mut value);
                    if !self.window.more()? {
                        self.state = State::Line;
                        break;
                    }
                }
                Step::End(end) => {
                    value.end += end;
                    break;
                }
                Step::List(list) if top && self.lists && !self.is_other_stream(&value, list) => {
                    self.window.consume(value.end + list);
                    self.state = State::List(Item { list: scanner.list(), index: 0 }, Some(scanner));
                    return Ok(Next::Further);
                }
                Step::List(list) => value.end += list,
                Step::Line(line) => {
                    value.end += line;
                    if self.begins_anew(value.end, column, scanner.last())? {
                        if top {
                            self.state = State::Line;
                        }
                        break;
                    }
                }
            }
        }
        self.cut(&mut value);
        Ok(Next::Here(value))
    }

    /// Whether the list that has begun is one of CloudWatch with no records in it, by what comes before the list.
    fn is_other_stream(&self, value: &Value, list: usize) -> bool {
        let start = &self.window.bytes()[value.offset..value.end + list];
        let closed = std::str::from_utf8(start).map(|start| format!("{start}]}}"));
        closed.is_ok_and(|object| cloudwatch::other_stream(&object).is_some())
    }

    /// Whether the line at an offset begins a new document, inside one that began in `column` and is therefore broken:
    /// an object begins where none can, or where one can but it is whole and stands no deeper.
    fn begins_anew(&mut self, line: usize, column: usize, last: u8) -> io::Result<bool> {
        let mut at = line;
        loop {
            match self.window.bytes().get(at).copied() {
                Some(b' ' | b'\t') if at - line < column => at += 1,
                Some(b'{') => break,
                None if self.window.more()? => {}
                _ => return Ok(false),
            }
        }
        if !matches!(last, b',' | b'[' | b':') {
            return Ok(true);
        }
        let end = self.window.find(b'\n', at, LINE)?;
        let text = match end {
            Find::At(end) => &self.window.bytes()[at..end],
            Find::Nowhere => &self.window.bytes()[at..],
            Find::Further => return Ok(false),
        };
        let text = text.trim_ascii_end();
        Ok(serde_json::from_slice::<IgnoredAny>(text.strip_suffix(b",").unwrap_or(text)).is_ok())
    }

    fn value_at(&self, offset: usize) -> Value {
        let (line, column) = self.window.position(offset);
        Value { line, column, offset, end: offset, gone: 0 }
    }

    /// What stands for a record where the input ends before its list or wrapping does.
    fn missing(&self) -> Value {
        self.value_at(0)
    }

    /// Of a value that is too long, keeps the beginning.
    fn cut(&mut self, value: &mut Value) {
        let length = value.end - value.offset;
        if value.gone == 0 && length <= self.max {
            return;
        }
        if value.gone == 0 {
            self.beginning.clear();
            self.beginning.extend_from_slice(&self.window.bytes()[value.offset..][..length.min(KEPT)]);
        }
        value.gone += length as u64;
        self.window.consume(value.end);
        self.given = self.given.saturating_sub(value.end);
        (value.offset, value.end) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An input that arrives in pieces.
    struct Pieces<'i>(&'i [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(self.0.len()).min(buffer.len());
            let (piece, rest) = self.0.split_at(size);
            buffer[..size].copy_from_slice(piece);
            self.0 = rest;
            Ok(size)
        }
    }

    type Owned = (String, u64, u64, Option<Item>);

    fn documents(input: &[u8], max: usize, piece: usize) -> Vec<Owned> {
        let mut documents = Documents::with_max(Pieces(input, piece), max);
        let mut all = Vec::new();
        while let Some(Document { bytes, length, line, item, .. }) =
            documents.next_document().expect("memory can be read")
        {
            all.push((String::from_utf8_lossy(bytes).into_owned(), length, line, item));
        }
        all
    }

    fn texts(input: &str) -> Vec<String> {
        documents(input.as_bytes(), 100, 4).into_iter().map(|(text, ..)| text).collect()
    }

    #[test]
    fn the_last_line_needs_no_end_and_an_empty_one_counts() {
        assert_eq!(texts(""), Vec::<String>::new());
        assert_eq!(texts("a\nb"), ["a", "b"]);
        assert_eq!(texts("a\r\nb\n"), ["a", "b"]);
        assert_eq!(texts("\n\n"), ["", ""]);
        assert_eq!(texts("\u{feff}{}\n\u{feff}"), ["{}", "\u{feff}"]);
    }

    #[test]
    fn lists_and_values_of_several_lines_are_taken_apart() {
        assert_eq!(texts("[1, \"a,]\" ,{\n}]\n{}\n"), ["1", "\"a,]\"", "{\n}", "{}"]);
        assert_eq!(texts("{\"a\":\n1}\n{\n}{}"), ["{\"a\":\n1}", "{\n}", "{}"]);
        assert_eq!(texts("{\"kind\":1,\"items\":[{},\n{}],\"records\":[5],\"a\":[]\n}{}\n"), ["{}", "{}", "5", "{}"]);
        assert_eq!(texts("[]\n[\n]\n{\"items\":[\n]}\n"), ["{\"items\":[\n]}"; 0]);
    }

    #[test]
    fn a_document_that_is_too_long_is_cut_and_passed_over() {
        let long = "x".repeat(70_000);
        for (input, length) in [
            (format!("{long}\n{{}}"), 70_000),
            (format!("{{\"a\":\"{long}\"}}\n{{}}"), 70_008),
            (format!("{{\"a\":\n\"{long}\"}}{{}}"), 70_009),
            (format!("[\"{long}\",{{}}]"), 70_002),
        ] {
            for piece in [1000, 100_000] {
                let found = documents(input.as_bytes(), 1000, piece);
                assert_eq!((found.len(), found[0].1), (2, length), "{}", &input[..20]);
                assert!(found[0].0.len() <= KEPT && input.contains(&found[0].0));
                assert_eq!(found[1].0, "{}");
            }
        }
    }

    proptest! {
        /// In whatever pieces it arrives, and however short a document must be, it is the same documents.
        #[test]
        fn the_documents_are_the_inputs(
            input in "[ab\"\\\\{}\\[\\],: \n]{0,60}", max in 1_usize..40, piece in 1_usize..9,
        ) {
            let whole = documents(input.as_bytes(), usize::MAX >> 1, usize::MAX);
            let found = documents(input.as_bytes(), max, piece);
            prop_assert_eq!(found.len(), whole.len());
            for (found, whole) in found.iter().zip(&whole) {
                prop_assert!(whole.0.starts_with(found.0.trim_ascii_end()));
                prop_assert_eq!((found.2, found.3), (whole.2, whole.3));
            }
        }
    }
}
