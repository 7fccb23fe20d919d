//! The part of an input that is in memory.

use std::io::{self, Read};

/// How much is read at once, in bytes, when an input turns out to be long; and at first, since most that are looked into
/// are one record.
const CHUNK: usize = 256 << 10;
const FIRST: usize = 8 << 10;

/// Bytes that have been read and are still wanted, and where they stand.
pub(super) struct Window<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    line: u64,
    column: u64,
    /// In the buffer, there is no line end between the window's start and here.
    no_line_end: usize,
    /// Why no more can be read.
    error: Option<io::Error>,
}

impl<R: Read> Window<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), start: 0, end: 0, line: 1, column: 1, no_line_end: 0, error: None }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The line of the byte at an offset, and the byte's place in the line, both from 1.
    pub(super) fn position(&self, offset: usize) -> (u64, u64) {
        let before = &self.bytes()[..offset];
        match memchr::memrchr(b'\n', before) {
            None => (self.line, self.column + offset as u64),
            Some(end) => {
                let lines = memchr::memchr_iter(b'\n', before).count() as u64;
                (self.line + lines, (offset - end) as u64)
            }
        }
    }

    /// Gives up the first bytes.
    pub(super) fn consume(&mut self, count: usize) {
        let end = self.start + count;
        // A line has been found already, and is given up whole: most often it is that.
        if count > 0 && end == self.no_line_end + 1 && self.buffer[self.no_line_end] == b'\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else {
            (self.line, self.column) = self.position(count);
        }
        self.start = end;
    }

    /// Gives up the first bytes, which are no part of any line.
    pub(super) fn pass_over(&mut self, count: usize) {
        self.start += count;
    }

    /// What went wrong when the input ended.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Reads more, as soon as there is some; whether there was any. An input that cannot be read ends here: what has been
    /// read of it is still given out.
    pub(super) fn more(&mut self) -> bool {
        if self.error.is_some() {
            return false;
        }
        if self.end == self.buffer.len() {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.no_line_end = self.no_line_end.saturating_sub(self.start);
                self.start = 0;
            }
            if self.buffer.len() - self.end < CHUNK / 2 {
                // As much again: a long record is not copied over and over.
                self.buffer.resize(self.buffer.len() + FIRST.max(self.buffer.len()), 0);
            }
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(read) => {
                    self.end += read;
                    return read > 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.error = Some(error);
                    return false;
                }
            }
        }
    }

    /// Where the first line end from an offset on is, reading at most until there are `max` bytes behind the offset.
    pub(super) fn line_end(&mut self, offset: usize, max: usize) -> Find {
        let mut searched = offset.max(self.no_line_end.saturating_sub(self.start));
        loop {
            let found = memchr::memchr(b'\n', &self.bytes()[searched..]).map(|found| searched + found);
            if offset == 0 {
                self.no_line_end = found.map_or(self.end, |found| self.start + found);
            }
            if let Some(found) = found {
                return Find::At(found);
            }
            searched = self.bytes().len();
            if searched - offset >= max {
                return Find::Further;
            }
            if !self.more() {
                return Find::Nowhere;
            }
        }
    }
}

/// Where a line end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Find {
    /// At this offset.
    At(usize),
    /// Not within the distance that was searched.
    Further,
    /// The input ends without one.
    Nowhere,
}
