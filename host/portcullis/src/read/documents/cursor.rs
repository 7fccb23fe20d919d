//! Finds the end of one JSON value in a stream, even if the value is broken.

use std::io::Read;

use portcullis_event::envelope::is_audit_list;
use serde::de::IgnoredAny;

use super::document::Item;
use crate::read::scanner::{Scanner, Step};
use crate::read::window::{Find, Window};

/// Lines up to this length, in bytes, are taken as a whole; longer lines are parsed while they are read.
pub(super) const MAX_WHOLE_LINE: usize = 1 << 20;

/// Bytes that are kept of a record that is too long, enough to recognize it.
pub(super) const KEPT: usize = 64 << 10;

/// A value in the window.
pub(super) struct Value {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) offset: usize,
    pub(super) end: usize,
    /// Number of its bytes that are no longer in the window, because it is too long.
    pub(super) gone: u64,
}

/// The state of a value at the end of one of its lines.
#[derive(Clone, Copy, Default)]
pub(super) struct Inside {
    /// The last byte outside of strings that is not white space.
    pub(super) last: u8,
    /// Its first line contains more than a bracket.
    pub(super) may_be_cut: bool,
    /// Its second line is indented deeper than its first.
    pub(super) deeper: bool,
    /// It is broken.
    pub(super) damaged: bool,
}

/// A value, or the list in it.
pub(super) enum Found {
    Value(Value, ValueEnd),
    /// A list before its first item, with the scanner of the surrounding envelope.
    List(Item, Scanner),
}

/// The kind of end that a value has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueEnd {
    Whole,
    /// A line looks like the beginning of a new document.
    Broken,
    /// The input ends.
    Input,
}

/// A position in a stream, and the bytes around it.
pub(super) struct Cursor<R> {
    pub(super) window: Window<R>,
    /// Limit for a value, in bytes.
    pub(super) max: usize,
    /// Number of bytes in the window up to the end of the last returned document.
    pub(super) given: usize,
    /// The beginning of a value that is too long.
    pub(super) beginning: Vec<u8>,
}

impl<R: Read> Cursor<R> {
    pub(super) fn new(input: R, max: usize, buffer: Vec<u8>) -> Self {
        Self { window: Window::new(input, buffer), max, given: 0, beginning: Vec::new() }
    }

    /// Finds the value at an offset. If `lists` is set and the value is an object with a list of records, the list is
    /// found.
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
                    if !self.window.read_more() {
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
                        // A line that contains only a bracket begins an indented document; it is not a line that was
                        // cut off.
                        let text = self.window.bytes()[value.offset..value.end].trim_ascii();
                        inside.may_be_cut = text.len() > 1;
                        inside.deeper = self.is_deeper(value.end, column);
                    }
                    (inside.last, inside.damaged) = (scanner.last(), scanner.is_damaged());
                    if self.begins_document(value.end, column, inside) {
                        break ValueEnd::Broken;
                    }
                }
            }
        };
        self.cut(&mut value);
        Found::Value(value, end)
    }

    /// Returns whether the text before the list that has begun identifies it as part of an API server's audit log.
    fn is_audit_list(&self, value: &Value, list: usize) -> bool {
        let start = &self.window.bytes()[value.offset..value.end + list];
        let closed = std::str::from_utf8(start).map(|start| format!("{start}]}}")).unwrap_or_default();
        is_audit_list(&closed)
    }

    /// Returns whether the line at an offset begins a new document, so that the current one, which began in `column`,
    /// is broken. The line must begin with an object that is not indented deeper and that cannot be part of the current
    /// document.
    pub(super) fn begins_document(&mut self, line: usize, column: usize, inside: Inside) -> bool {
        let mut at = line;
        loop {
            match self.window.bytes().get(at).copied() {
                Some(b' ' | b'\t') if at - line < column => at += 1,
                Some(b'{') => break,
                None if self.window.read_more() => {}
                _ => return false,
            }
        }
        // JSON allows an object only after these bytes. Inside an indented document, no object begins as far left as
        // the document itself.
        if !matches!(inside.last, b',' | b'[' | b':') || inside.deeper || inside.damaged {
            return true;
        }
        // If a line was cut off, the rest of its record may follow, but not a complete record.
        inside.may_be_cut && {
            let end = match self.window.line_end(at, MAX_WHOLE_LINE) {
                Find::At(end) => end,
                Find::Nowhere => self.window.bytes().len(),
                Find::Further => return false,
            };
            let text = self.window.bytes()[at..end].trim_ascii_end();
            serde_json::from_slice::<IgnoredAny>(text.strip_suffix(b",").unwrap_or(text)).is_ok()
        }
    }

    /// Returns whether the line at an offset is indented deeper than `column`.
    fn is_deeper(&mut self, line: usize, column: usize) -> bool {
        for at in line..=line.saturating_add(column) {
            while self.window.bytes().len() <= at {
                if !self.window.read_more() {
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

    /// Drops a value that is too long from the window, and keeps its beginning.
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
