//! The part of an input that is in memory.

use std::io::{self, Read};

/// Number of bytes to read at once from a long input, and at first, because most inputs that are split are one record.
const CHUNK: usize = 256 << 10;
const FIRST: usize = 8 << 10;

/// Bytes that were read and are still needed, and their position.
pub(super) struct Window<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    line: u64,
    column: u64,
    /// The buffer contains no line end between the window's start and this offset.
    no_line_end: usize,
    /// The error that ended the input.
    error: Option<io::Error>,
}

impl<R: Read> Window<R> {
    /// Uses this buffer, whatever is in it.
    pub(super) fn new(input: R, buffer: Vec<u8>) -> Self {
        Self { input, buffer, start: 0, end: 0, line: 1, column: 1, no_line_end: 0, error: None }
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Returns the line of the byte at an offset, and the byte's position in the line, both counted from 1.
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

    /// Drops the first bytes.
    pub(super) fn consume(&mut self, count: usize) {
        let end = self.start + count;
        // Usually this drops exactly the line that was found last.
        if count > 0 && end == self.no_line_end + 1 && self.buffer[self.no_line_end] == b'\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else {
            (self.line, self.column) = self.position(count);
        }
        self.start = end;
    }

    /// Drops the first bytes, which belong to no line.
    pub(super) fn skip(&mut self, count: usize) {
        self.start += count;
    }

    /// Returns the error that ended the input.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Reads more bytes, as soon as some are available. Returns whether there were any. If reading fails, the input
    /// ends here, and the bytes before are still used.
    pub(super) fn read_more(&mut self) -> bool {
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
                // Doubling avoids copying a long record again and again.
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

    /// Returns the position of the first line end in the `max` bytes after an offset, which are read for it. So the result
    /// does not depend on how much is in memory already.
    pub(super) fn line_end(&mut self, offset: usize, max: usize) -> Find {
        let mut searched = offset.max(self.no_line_end.saturating_sub(self.start));
        loop {
            let found = memchr::memchr(b'\n', &self.bytes()[searched..]).map(|found| searched + found);
            if offset == 0 {
                self.no_line_end = found.map_or(self.end, |found| self.start + found);
            }
            if let Some(found) = found {
                return if found - offset <= max { Find::At(found) } else { Find::Further };
            }
            searched = self.bytes().len();
            if searched - offset >= max {
                return Find::Further;
            }
            if !self.read_more() {
                return Find::Nowhere;
            }
        }
    }
}

/// The position of a line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Find {
    /// At this offset.
    At(usize),
    /// Not within the searched distance.
    Further,
    /// The input ends before it.
    Nowhere,
}
