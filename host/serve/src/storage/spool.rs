//! Alerts that wait on the disk for somebody to take them: files of bounded length, one after the other, and how far they have
//! been taken.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::log_file::{LogFile, LogTarget, Past};

/// The length at which another file is begun.
const FILE: u64 = 8 << 20;

/// Where the taking end stands, in a file of this name.
const TAKEN: &str = "taken";

/// A place in a spool: a file by its number, and a byte of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    file: u64,
    byte: u64,
}

/// What both ends know.
#[derive(Default)]
struct Known {
    /// Behind the last line.
    end: At,
    /// The bytes that have not been taken.
    waiting: u64,
    is_closing: bool,
}

#[derive(Default)]
struct Shared {
    known: Mutex<Known>,
    moved: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end into which alerts are put.
pub(crate) struct Putting {
    folder: PathBuf,
    /// The most bytes that wait.
    most: u64,
    number: u64,
    file: LogFile,
    shared: Arc<Shared>,
}

/// The end from which alerts are taken, in their order.
pub(crate) struct Taking {
    folder: PathBuf,
    /// Up to where they have been taken for good.
    taken: At,
    /// Up to where they have been read.
    read: At,
    shared: Arc<Shared>,
}

/// How much waits.
#[derive(Clone)]
pub(crate) struct Waiting(Arc<Shared>);

impl Waiting {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.lock().waiting
    }

    /// Has the taking end find nothing any more, whatever waits: it is there at the next start.
    pub(crate) fn close(&self) {
        self.0.lock().is_closing = true;
        self.0.moved.notify_all();
    }
}

/// Opens the spool in this folder, with what is past in it.
pub(crate) fn open(folder: &Path, most: u64) -> io::Result<(Putting, Taking, Waiting, Past)> {
    fs::create_dir_all(folder)?;
    let numbers = numbers(folder)?;
    let number = numbers.last().copied().unwrap_or(0);
    let mut past = Past::default();
    // The ids in the file before are known too: this one may just have been begun.
    if let Some(before) = numbers.iter().rev().nth(1) {
        LogFile::open(&path(folder, *before), &mut past)?;
    }
    let file = LogFile::open(&path(folder, number), &mut past)?;
    let first = numbers.first().copied().unwrap_or(number);
    let taken = read_taken(folder)?.unwrap_or_default().max(At { file: first, byte: 0 });
    let mut waiting = 0;
    for number in numbers.iter().filter(|number| **number >= taken.file) {
        waiting += fs::metadata(path(folder, *number))?.len();
    }
    let end = At { file: number, byte: file.end };
    // A line that was not whole may have been counted.
    let taken = taken.min(end);
    let known = Known { end, waiting: waiting.saturating_sub(taken.byte), is_closing: false };
    let shared = Arc::new(Shared { known: Mutex::new(known), moved: Condvar::new() });
    let putting = Putting { folder: folder.to_owned(), most, number, file, shared: Arc::clone(&shared) };
    let taking = Taking { folder: folder.to_owned(), taken, read: taken, shared: Arc::clone(&shared) };
    Ok((putting, taking, Waiting(shared), past))
}

/// The numbers of the files that are there, in order.
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

fn read_taken(folder: &Path) -> io::Result<Option<At>> {
    match fs::read_to_string(folder.join(TAKEN)) {
        Ok(text) => {
            let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
            match (numbers.next().flatten(), numbers.next().flatten()) {
                (Some(file), Some(byte)) => Ok(Some(At { file, byte })),
                _ => Err(io::Error::other(format!("{TAKEN}: expected two numbers; remove it to send all again"))),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl LogTarget for Putting {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let length = text.len() as u64;
        let waiting = self.shared.lock().waiting;
        // More than all of it at once would else never be taken.
        if waiting > 0 && length > 0 && waiting + length > self.most {
            return Err(io::Error::other(format!(
                "the spool is full: {waiting} bytes wait, of {} at the most",
                self.most
            )));
        }
        if self.file.end >= FILE {
            self.file = LogFile::open(&path(&self.folder, self.number + 1), &mut Past::default())?;
            self.number += 1;
        }
        self.file.write(text)?;
        let mut known = self.shared.lock();
        known.end = At { file: self.number, byte: self.file.end };
        known.waiting += length;
        drop(known);
        self.shared.moved.notify_all();
        Ok(())
    }

    fn look(&mut self, bytes: u64) -> io::Result<()> {
        let waiting = self.shared.lock().waiting;
        // What is more than all of it will not be told to be welcome by waiting.
        if waiting > 0 && waiting + bytes > self.most {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.look(bytes)
    }
}

impl Taking {
    /// The next lines, at most so many, as soon as there are any. They come again until they are [`Taking::done`]. None when
    /// the spool is closed.
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
                self.read = At { file: self.read.file + 1, byte: 0 };
            }
        }
        Ok(Some(lines))
    }

    /// The lines that came last have been taken for good.
    pub(crate) fn done(&mut self) -> io::Result<()> {
        let part = self.folder.join("taken.part");
        fs::write(&part, format!("{} {}\n", self.read.file, self.read.byte))?;
        fs::rename(part, self.folder.join(TAKEN))?;
        let mut gone = 0;
        // The last of those that are done is kept for its ids.
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

    /// Waits, unless the spool is closed meanwhile; whether it is.
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

    fn lines(taking: &mut Taking, most: usize) -> Vec<String> {
        taking.next(most).expect("readable").expect("open")
    }

    #[test]
    fn what_is_put_is_taken_in_order_and_once_also_after_a_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut putting, mut taking, waiting, _) = open(folder.path(), 1 << 30).expect("opened");
        let long = "x".repeat(1 << 20);
        for n in 0..20 {
            putting.write(format!("{n} {long}\n").as_bytes()).expect("room");
        }
        assert_eq!(waiting.bytes(), (0..20).map(|n: u64| n.to_string().len() as u64 + 2 + (1 << 20)).sum::<u64>());
        let mut seen = Vec::new();
        let number = |line: &String| line.split(' ').next().expect("a number").parse::<u64>().expect("a number");
        for _ in 0..3 {
            assert_eq!(lines(&mut taking, 3).len(), 3);
            seen.extend(lines(&mut taking, 3).iter().map(number));
            taking.done().expect("written");
        }
        drop((putting, taking));
        let (_putting, mut taking, waiting, _) = open(folder.path(), 1 << 30).expect("opened");
        while waiting.bytes() > 0 {
            seen.extend(lines(&mut taking, 4).iter().map(number));
            taking.done().expect("written");
        }
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
        assert_eq!(numbers(folder.path()).expect("read").len(), 2, "what is done is removed");
        waiting.close();
        assert!(taking.next(1).expect("readable").is_none());
    }

    #[test]
    fn no_more_waits_than_may() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut putting, mut taking, _, _) = open(folder.path(), 10).expect("opened");
        putting.write(b"12345678\n").expect("room");
        assert!(putting.write(b"1\n").expect_err("full").to_string().contains("the spool is full"));
        lines(&mut taking, 1);
        taking.done().expect("written");
        putting.write(b"1\n").expect("room");
        assert_eq!(lines(&mut taking, 5), ["1"]);
    }
}
