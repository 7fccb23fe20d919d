//! One JSON value of a stream, and where it ends if it is broken.

use std::io::{self, Read};

use serde::de::IgnoredAny;

use super::{Documents, Item, LINE, Next, State};
use crate::read::cloudwatch;
use crate::read::scanner::{Scanner, Step};
use crate::read::window::Find;

/// Of a record that is too long, this much is kept: enough to see what it was.
pub(super) const KEPT: usize = 64 << 10;

/// A value in the window.
pub(super) struct Value {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) offset: usize,
    pub(super) end: usize,
    /// How much of it is gone from the window, because it is too long.
    pub(super) gone: u64,
}

impl<R: Read> Documents<R> {
    /// The value at an offset. If it is at the top, and an object that has a list of records, then its list.
    pub(super) fn value(&mut self, offset: usize, column: usize, top: bool) -> io::Result<Next> {
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
    pub(super) fn begins_anew(&mut self, line: usize, column: usize, last: u8) -> io::Result<bool> {
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

    pub(super) fn value_at(&self, offset: usize) -> Value {
        let (line, column) = self.window.position(offset);
        Value { line, column, offset, end: offset, gone: 0 }
    }

    /// Of a value that is too long, keeps the beginning.
    pub(super) fn cut(&mut self, value: &mut Value) {
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
