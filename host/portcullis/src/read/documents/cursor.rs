//! One JSON value of a stream, and where it ends if it is broken.

use std::io::Read;

use portcullis_event::envelope::is_audit_list;
use serde::de::IgnoredAny;

use super::document::Item;
use crate::read::scanner::{Scanner, Step};
use crate::read::window::{Find, Window};

/// A line of JSON of at most this many bytes is taken as a whole; a longer one is looked into as it is read.
pub(super) const LINE: usize = 1 << 20;

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

/// What is known of a value at the end of one of its lines.
#[derive(Clone, Copy, Default)]
pub(super) struct Inside {
    /// The last byte that says something.
    pub(super) last: u8,
    /// There is more than a bracket in its first line.
    pub(super) may_be_cut: bool,
    /// Its second line is indented deeper than its first.
    pub(super) deeper: bool,
    /// It is known to be broken.
    pub(super) damaged: bool,
}

/// A value, or the list that it has.
pub(super) enum Found {
    Value(Value, ValueEnd),
    /// A list before its first item, with the scanner of what is around it.
    List(Item, Scanner),
}

/// How a value ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueEnd {
    Whole,
    /// Where a line begins like a new document.
    Broken,
    /// With the input.
    Input,
}

/// A place in a stream, and the bytes around it.
pub(super) struct Cursor<R> {
    pub(super) window: Window<R>,
    /// The most bytes of a value.
    pub(super) max: usize,
    /// Of the window's bytes, those up to the end of the document that was given out last.
    pub(super) given: usize,
    /// The beginning of a value that is too long.
    pub(super) beginning: Vec<u8>,
}

impl<R: Read> Cursor<R> {
    pub(super) fn new(input: R, max: usize) -> Self {
        Self { window: Window::new(input), max, given: 0, beginning: Vec::new() }
    }

    /// Finds the value at an offset. With `lists`, an object that has a list of records becomes its list.
    pub(super) fn value(&mut self, offset: usize, column: usize, lists: bool) -> Found {
        let mut scanner = Scanner::default();
        let mut value = self.value_at(offset);
        let mut inside = Inside::default();
        let mut in_first_line = true;
        let end = loop {
            match scanner.feed(&self.window.bytes()[value.end..]) {
                Step::More => {
                    value.end = self.window.bytes().len();
                    self.cut(&mut value);
                    if !self.window.more() {
                        break ValueEnd::Input;
                    }
                }
                Step::End(end) => {
                    value.end += end;
                    break ValueEnd::Whole;
                }
                Step::List(list) if lists => {
                    let of_audit_list = self.is_audit_list(&value, list);
                    self.window.consume(value.end + list);
                    let item = Item { list: scanner.list(), index: 0, of_audit_list };
                    return Found::List(item, scanner);
                }
                Step::List(list) => value.end += list,
                Step::Line(line) => {
                    value.end += line;
                    if std::mem::take(&mut in_first_line) {
                        // A bracket alone on its line is how indented documents begin, not how a cut line ends.
                        let text = self.window.bytes()[value.offset..value.end].trim_ascii();
                        inside.may_be_cut = text.len() > 1;
                        inside.deeper = self.is_deeper(value.end, column);
                    }
                    (inside.last, inside.damaged) = (scanner.last(), scanner.is_damaged());
                    if self.begins_anew(value.end, column, inside) {
                        break ValueEnd::Broken;
                    }
                }
            }
        };
        self.cut(&mut value);
        Found::Value(value, end)
    }

    /// Whether the list that has begun is one of an API server's audit log, by what comes before the list.
    fn is_audit_list(&self, value: &Value, list: usize) -> bool {
        let start = &self.window.bytes()[value.offset..value.end + list];
        let closed = std::str::from_utf8(start).map(|start| format!("{start}]}}")).unwrap_or_default();
        is_audit_list(&closed)
    }

    /// Whether the line at an offset begins a new document, inside one that began in `column` and is therefore broken: with
    /// an object, that stands no deeper and that can be no part of the broken one.
    pub(super) fn begins_anew(&mut self, line: usize, column: usize, inside: Inside) -> bool {
        let mut at = line;
        loop {
            match self.window.bytes().get(at).copied() {
                Some(b' ' | b'\t') if at - line < column => at += 1,
                Some(b'{') => break,
                None if self.window.more() => {}
                _ => return false,
            }
        }
        // JSON lets an object begin only here; and one that is indented has none that stand as far to the left as itself.
        if !matches!(inside.last, b',' | b'[' | b':') || inside.deeper || inside.damaged {
            return true;
        }
        // A line that was cut off, where a record's rest may well go on; not with a record that is whole.
        inside.may_be_cut && {
            let end = match self.window.line_end(at, LINE) {
                Find::At(end) => end,
                Find::Nowhere => self.window.bytes().len(),
                Find::Further => return false,
            };
            let text = self.window.bytes()[at..end].trim_ascii_end();
            serde_json::from_slice::<IgnoredAny>(text.strip_suffix(b",").unwrap_or(text)).is_ok()
        }
    }

    /// Whether the line at an offset is indented deeper than this.
    fn is_deeper(&mut self, line: usize, column: usize) -> bool {
        for at in line..=line.saturating_add(column) {
            while self.window.bytes().len() <= at {
                if !self.window.more() {
                    return false;
                }
            }
            if !matches!(self.window.bytes()[at], b' ' | b'\t') {
                return false;
            }
        }
        true
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
