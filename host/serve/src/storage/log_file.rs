//! Files of whole lines.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::known::{Known, Repeats, content};
use crate::machine::{AppendFile, Disk};

/// The bytes at the end of a file that are read when it is opened, to recognize repeated lines.
const TAIL: u64 = 16 << 20;

/// The most bytes at the end of a file in which its last whole line is looked for: a record of 64 MiB whose characters
/// are all escaped.
const LONGEST_LINE: u64 = 512 << 20;

/// The beginnings of lines: of the ledger and the dead letters, of alerts, and of findings.
const BEGINNINGS: [&[u8]; 3] = [b"{\"n\":", b"{\"alert_id\":", b"{\"activity_id\":"];

/// The member of a batch's last line in the ledger.
pub(crate) const BATCH_END: &str = "batch_end";

/// A target of lines: a file, a spool or standard output.
pub(crate) trait LogTarget: Send {
    /// Writes a text, to the disk if there is one, or leaves everything as it was.
    fn write(&mut self, text: &[u8]) -> io::Result<()>;

    /// Checks whether this many bytes could be written now, without writing them.
    fn check_space(&mut self, bytes: u64) -> io::Result<()>;

    /// Opens the file of its name again, unless it is still the same file.
    fn reopen(&mut self, _disk: &dyn Disk) -> io::Result<()> {
        Ok(())
    }
}

/// A file of whole lines.
pub(crate) struct LogFile {
    path: PathBuf,
    file: Box<dyn AppendFile>,
    /// The length to which a failed write must be undone before the next one.
    torn: Option<u64>,
}

impl LogFile {
    /// Opens or creates a file, removes an incomplete last line or batch, and adds its lines to `known`.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, known: &mut Known) -> io::Result<Self> {
        let mut file = disk.open(path)?;
        let length = file.length()?;
        let mut tail = file.tail(TAIL)?;
        // A record that was being kept may be longer. At least one whole line says the next number.
        while memchr::memchr_iter(b'\n', &tail).take(2).count() < 2 && (tail.len() as u64) < length.min(LONGEST_LINE) {
            tail = file.tail(4 * tail.len() as u64)?;
        }
        let is_spool = path.extension().is_some_and(|ending| ending == "spool");
        let complete = complete_batches(&tail[..complete_lines(&tail, is_spool)?], known.repeats);
        let end = length - (tail.len() - complete.len()) as u64;
        look_back(complete, known);
        if end < length {
            tracing::warn!(bytes = length - end, "{}: an incomplete end is removed", path.display());
            file.truncate(end)?;
        }
        Ok(Self { path: path.to_owned(), file, torn: None })
    }

    /// Returns the end of its last whole line.
    pub(crate) fn end(&mut self) -> io::Result<u64> {
        self.undo()?;
        self.file.length()
    }

    /// Removes what a failed write left.
    fn undo(&mut self) -> io::Result<()> {
        if let Some(end) = self.torn {
            self.file.truncate(end)?;
            self.torn = None;
        }
        Ok(())
    }
}

impl LogTarget for LogFile {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let end = self.end()?;
        let written = self.file.append(text);
        if written.is_err() {
            self.torn = Some(end);
            if let Err(error) = self.undo() {
                tracing::error!("{}: an incomplete line cannot be removed yet: {error}", self.path.display());
            }
        }
        written
    }

    fn check_space(&mut self, bytes: u64) -> io::Result<()> {
        self.undo()?;
        self.file.check_space(bytes)
    }

    fn reopen(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if !self.file.is_at(&self.path) {
            // The lines of the previous file stay known.
            *self = Self::open(disk, &self.path, &mut Known::default())?;
        }
        Ok(())
    }
}

/// Returns the length of the whole lines in the tail of a file. What follows them is removed, so it must be a part of a
/// line that this service began, or the zeros that some file systems leave when the power fails.
fn complete_lines(tail: &[u8], is_spool: bool) -> io::Result<usize> {
    let end = memchr::memrchr(b'\n', tail).map_or(0, |end| end + 1);
    let (lines, rest) = tail.split_at(end);
    let last = lines.strip_suffix(b"\n").map(|lines| &lines[memchr::memrchr(b'\n', lines).map_or(0, |end| end + 1)..]);
    let is_own = |line: &[u8]| {
        // In a spool, each line begins with a time.
        (is_spool && line[0].is_ascii_digit())
            || BEGINNINGS.iter().any(|known| line.starts_with(known) || known.starts_with(line))
    };
    let are_zeros = || rest.iter().all(|byte| *byte == 0) && last.is_none_or(|last| !last.is_empty() && is_own(last));
    if rest.is_empty() || is_own(rest) || are_zeros() {
        Ok(end)
    } else {
        Err(io::Error::other("it ends with something else than lines of this service; is it another file?"))
    }
}

/// Returns these lines without those of an incomplete last batch, whose sender was never told that it is safe. The last
/// batch is incomplete if the line before it ends a batch, and none of its own lines does. So the lines of other programs
/// stay.
fn complete_batches(lines: &[u8], repeats: Repeats) -> &[u8] {
    if repeats != Repeats::Batch {
        return lines;
    }
    let (mut end, mut last) = (lines.len(), None);
    while end > 0 {
        let start = memchr::memrchr(b'\n', &lines[..end - 1]).map_or(0, |newline| newline + 1);
        let line: Value = serde_json::from_slice(&lines[start..end]).unwrap_or_default();
        let is_of_last = last.as_ref().is_none_or(|last| *last == line["batch"]);
        if line[BATCH_END] == true {
            return if is_of_last { lines } else { &lines[..end] };
        }
        if !is_of_last || !line["batch"].is_string() {
            return lines;
        }
        last = Some(line["batch"].clone());
        end = start;
    }
    // All lines are of one batch without an end. It was the first one.
    &lines[..0]
}

/// Adds whole lines to `known`.
fn look_back(lines: &[u8], known: &mut Known) {
    // The first line may be incomplete, and is then not JSON.
    for line in lines.split(|byte| *byte == b'\n') {
        // In a spool, each line begins with a time.
        let json = memchr::memchr(b'{', line).map_or(line, |start| &line[start..]);
        let Ok(value) = serde_json::from_slice::<Value>(json) else { continue };
        known.note(&value, || content(json));
    }
}
