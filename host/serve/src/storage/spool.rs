//! A spool: alerts that wait on the disk, in files of bounded length, with the position up to which they were taken.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::log_file::{LogFile, LogTarget, Past};

/// The length in bytes at which a new file is begun.
const FILE: u64 = 8 << 20;

/// The file with the position up to which alerts were taken.
const TAKEN: &str = "taken";

/// A position in a spool: the number of a file, and a byte of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    file: u64,
    byte: u64,
}

/// The state that writer and reader share.
#[derive(Default)]
struct SpoolState {
    /// The end of the last line.
    end: Position,
    /// The number of bytes that were not taken yet.
    waiting: u64,
    is_closing: bool,
}

#[derive(Default)]
struct Shared {
    known: Mutex<SpoolState>,
    moved: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, SpoolState> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Appends alerts to a spool.
pub(crate) struct SpoolWriter {
    folder: PathBuf,
    /// Maximum number of bytes that may wait.
    most: u64,
    number: u64,
    file: LogFile,
    shared: Arc<Shared>,
}

/// Takes alerts from a spool, in order.
pub(crate) struct SpoolReader {
    folder: PathBuf,
    /// The position up to which alerts were taken.
    taken: Position,
    /// The position up to which alerts were read.
    read: Position,
    shared: Arc<Shared>,
}

/// A handle that reads the size of a spool and closes it.
#[derive(Clone)]
pub(crate) struct SpoolHandle(Arc<Shared>);

impl SpoolHandle {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.lock().waiting
    }

    /// Closes the spool for its reader. Waiting alerts stay for the next start.
    pub(crate) fn close(&self) {
        self.0.lock().is_closing = true;
        self.0.moved.notify_all();
    }
}

/// Opens the spool in this folder, or creates it.
pub(crate) fn open(folder: &Path, most: u64) -> io::Result<(SpoolWriter, SpoolReader, SpoolHandle, Past)> {
    fs::create_dir_all(folder)?;
    let numbers = numbers(folder)?;
    let number = numbers.last().copied().unwrap_or(0);
    let mut past = Past::default();
    // The ids in the previous file are needed too, because the last one may be new.
    if let Some(before) = numbers.iter().rev().nth(1) {
        LogFile::open(&path(folder, *before), &mut past)?;
    }
    let file = LogFile::open(&path(folder, number), &mut past)?;
    let first = numbers.first().copied().unwrap_or(number);
    let taken = read_taken(folder)?.unwrap_or_default().max(Position { file: first, byte: 0 });
    let mut waiting = 0;
    for number in numbers.iter().filter(|number| **number >= taken.file) {
        waiting += fs::metadata(path(folder, *number))?.len();
    }
    let end = Position { file: number, byte: file.end };
    // An incomplete line may have been counted.
    let taken = taken.min(end);
    let known = SpoolState { end, waiting: waiting.saturating_sub(taken.byte), is_closing: false };
    let shared = Arc::new(Shared { known: Mutex::new(known), moved: Condvar::new() });
    let writer = SpoolWriter { folder: folder.to_owned(), most, number, file, shared: Arc::clone(&shared) };
    let reader = SpoolReader { folder: folder.to_owned(), taken, read: taken, shared: Arc::clone(&shared) };
    Ok((writer, reader, SpoolHandle(shared), past))
}

/// Returns the numbers of the files, in order.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".spool")?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.spool"))
}

fn read_taken(folder: &Path) -> io::Result<Option<Position>> {
    match fs::read_to_string(folder.join(TAKEN)) {
        Ok(text) => {
            let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
            match (numbers.next().flatten(), numbers.next().flatten()) {
                (Some(file), Some(byte)) => Ok(Some(Position { file, byte })),
                _ => Err(io::Error::other(format!(
                    "{TAKEN}: expected two numbers; remove the file to send everything again"
                ))),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl LogTarget for SpoolWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let length = text.len() as u64;
        let waiting = self.shared.lock().waiting;
        // Otherwise a text that is longer than the whole spool would never be accepted.
        if waiting > 0 && length > 0 && waiting + length > self.most {
            return Err(io::Error::other(format!("the spool is full: {waiting} bytes wait, of at most {}", self.most)));
        }
        if self.file.end >= FILE {
            self.file = LogFile::open(&path(&self.folder, self.number + 1), &mut Past::default())?;
            self.number += 1;
        }
        self.file.write(text)?;
        let mut known = self.shared.lock();
        known.end = Position { file: self.number, byte: self.file.end };
        known.waiting += length;
        drop(known);
        self.shared.moved.notify_all();
        Ok(())
    }

    fn check_space(&mut self, bytes: u64) -> io::Result<()> {
        let waiting = self.shared.lock().waiting;
        // A text that is longer than the whole spool fits only into an empty one.
        if waiting > 0 && waiting + bytes > self.most {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.check_space(bytes)
    }
}

impl SpoolReader {
    /// Waits for lines and returns at most this many. They are returned again until [`SpoolReader::done`] is called.
    /// Returns `None` if the spool is closed.
    pub(crate) fn next(&mut self, most: usize) -> io::Result<Option<Vec<String>>> {
        self.read = self.taken;
        let end = {
            let mut known = self.shared.lock();
            while known.end <= self.read && !known.is_closing {
                known = self.shared.moved.wait(known).unwrap_or_else(PoisonError::into_inner);
            }
            if known.is_closing {
                return Ok(None);
            }
            known.end
        };
        let mut lines = Vec::new();
        while lines.len() < most && self.read < end {
            let mut file = File::open(path(&self.folder, self.read.file))?;
            let length = if self.read.file == end.file { end.byte } else { file.metadata()?.len() };
            file.seek(SeekFrom::Start(self.read.byte))?;
            let mut file = BufReader::new(file);
            while lines.len() < most && self.read.byte < length {
                let mut line = String::new();
                let read = file.read_line(&mut line)?;
                if read == 0 {
                    break;
                }
                self.read.byte += read as u64;
                line.truncate(line.trim_end_matches('\n').len());
                lines.push(line);
            }
            if self.read.byte >= length && self.read.file < end.file {
                self.read = Position { file: self.read.file + 1, byte: 0 };
            }
        }
        Ok(Some(lines))
    }

    /// Marks the lines that were returned last as taken.
    pub(crate) fn done(&mut self) -> io::Result<()> {
        let part = self.folder.join("taken.part");
        fs::write(&part, format!("{} {}\n", self.read.file, self.read.byte))?;
        fs::rename(part, self.folder.join(TAKEN))?;
        let mut gone = 0;
        // The last file before the position is kept for its ids.
        for number in numbers(&self.folder)?.into_iter().filter(|number| *number < self.read.file) {
            let file = path(&self.folder, number);
            if number >= self.taken.file {
                gone += fs::metadata(&file)?.len();
            }
            if number + 1 < self.read.file {
                fs::remove_file(file)?;
            }
        }
        let taken = gone + self.read.byte - self.taken.byte;
        self.taken = self.read;
        let mut known = self.shared.lock();
        known.waiting = known.waiting.saturating_sub(taken);
        Ok(())
    }

    /// Waits, or until the spool is closed. Returns whether it is.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let known = self.shared.lock();
        let (known, _) = self
            .shared
            .moved
            .wait_timeout_while(known, time, |known| !known.is_closing)
            .unwrap_or_else(PoisonError::into_inner);
        known.is_closing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(reader: &mut SpoolReader, most: usize) -> Vec<String> {
        reader.next(most).expect("readable").expect("open")
    }

    #[test]
    fn lines_are_taken_in_order_and_once_even_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut writer, mut reader, waiting, _) = open(folder.path(), 1 << 30).expect("opened");
        let long = "x".repeat(1 << 20);
        for n in 0..20 {
            writer.write(format!("{n} {long}\n").as_bytes()).expect("written");
        }
        assert_eq!(waiting.bytes(), (0..20).map(|n: u64| n.to_string().len() as u64 + 2 + (1 << 20)).sum::<u64>());
        let mut seen = Vec::new();
        let number = |line: &String| line.split(' ').next().expect("a number").parse::<u64>().expect("a number");
        for _ in 0..3 {
            assert_eq!(lines(&mut reader, 3).len(), 3);
            seen.extend(lines(&mut reader, 3).iter().map(number));
            reader.done().expect("written");
        }
        drop((writer, reader));
        let (_putting, mut reader, waiting, _) = open(folder.path(), 1 << 30).expect("opened");
        while waiting.bytes() > 0 {
            seen.extend(lines(&mut reader, 4).iter().map(number));
            reader.done().expect("written");
        }
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
        assert_eq!(numbers(folder.path()).expect("read").len(), 2, "what is done is removed");
        waiting.close();
        assert!(reader.next(1).expect("readable").is_none());
    }

    #[test]
    fn the_spool_holds_at_most_its_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut writer, mut reader, _, _) = open(folder.path(), 10).expect("opened");
        writer.write(b"12345678\n").expect("written");
        assert!(writer.write(b"1\n").expect_err("full").to_string().contains("the spool is full"));
        lines(&mut reader, 1);
        reader.done().expect("written");
        writer.write(b"1\n").expect("written");
        assert_eq!(lines(&mut reader, 5), ["1"]);
    }
}
