//! Records out of a stream of lines, in bounded memory.

use std::io::{self, BufRead};

/// What some writers put before the first byte of a file of UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads lines; one that is longer than the limit is cut and passed over.
pub struct Lines<R> {
    input: R,
    max: usize,
    line: Vec<u8>,
    first: bool,
}

/// A line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'l> {
    /// Its bytes, or the first of them.
    pub bytes: &'l [u8],
    /// Its length in the input, in bytes: more than there are bytes if it was cut.
    pub length: u64,
}

impl<R: BufRead> Lines<R> {
    /// The lines of an input, each of at most `max` bytes.
    pub fn new(input: R, max: usize) -> Self {
        Self { input, max, line: Vec::new(), first: true }
    }

    /// The next line, as soon as its end has been read; none at the end of the input. A byte order mark before the
    /// first line is no part of it.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut length: u64 = 0;
        let mut read = 0;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                break;
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            let room = self.max.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            length += part.len() as u64;
            let used = part.len() + usize::from(end.is_some());
            read += used;
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        if read == 0 {
            return Ok(None);
        }
        let mark: &[u8] = if std::mem::take(&mut self.first) { BYTE_ORDER_MARK } else { b"" };
        let bytes = self.line.strip_prefix(mark).unwrap_or(&self.line);
        Ok(Some(Line { bytes, length: length - (self.line.len() - bytes.len()) as u64 }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines of an input that arrives in pieces of `buffer` bytes.
    fn lines(input: &[u8], max: usize, buffer: usize) -> Vec<(Vec<u8>, u64)> {
        let mut lines = Lines::new(io::BufReader::with_capacity(buffer, input), max);
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().expect("memory can be read") {
            all.push((line.bytes.to_vec(), line.length));
        }
        all
    }

    #[test]
    fn the_last_line_needs_no_end_and_an_empty_one_counts() {
        let texts = |input: &[u8]| lines(input, 100, 4).into_iter().map(|(line, _)| line).collect::<Vec<_>>();
        assert_eq!(texts(b""), Vec::<Vec<u8>>::new());
        assert_eq!(texts(b"a\nb"), [b"a", b"b"]);
        assert_eq!(texts(b"a\nb\n"), [b"a", b"b"]);
        assert_eq!(texts(b"\n\n"), [b"", b""]);
        assert_eq!(texts(b"\xef\xbb\xbf{}\n\xef\xbb\xbf"), [&b"{}"[..], b"\xef\xbb\xbf"]);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_and_no_line_is_longer_than_the_limit(
            input in "[ab\n]{0,60}", max in 1_usize..9, buffer in 1_usize..9,
        ) {
            let lines = lines(input.as_bytes(), max, buffer);
            let expected: Vec<&str> = input.strip_suffix('\n').unwrap_or(&input).split('\n').collect();
            prop_assert_eq!(lines.len(), if input.is_empty() { 0 } else { expected.len() });
            for ((line, length), expected) in lines.iter().zip(expected) {
                prop_assert_eq!(&**line, &expected.as_bytes()[..expected.len().min(max)]);
                prop_assert_eq!(*length, expected.len() as u64);
            }
        }
    }
}
