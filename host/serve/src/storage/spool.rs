//! A spool: alerts that wait on the disk, in files of bounded length, with the position up to which they were taken.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::known::{Known, Repeats};
use super::log_file::{LogFile, LogTarget};
use crate::machine::{Disk, Machine, read_whole, within};

/// The length in bytes at which a new file is begun.
const FILE: u64 = 8 << 20;

/// The bytes that are read at once. A longer line takes several reads.
const CHUNK: u64 = 256 << 10;

/// The file with the position up to which alerts were taken.
const TAKEN: &str = "taken";

/// The interval at which a position that could not be written is written again.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// A position in a spool: the number of a file, and a byte of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    file: u64,
    byte: u64,
}

/// The state that writer and reader share.
#[derive(Clone, Copy, Debug, Default)]
struct SpoolState {
    /// The end of the last line.
    end: Position,
    /// The number of bytes that were not taken yet.
    waiting: u64,
    is_closing: bool,
}

/// Appends alerts to a spool.
pub(crate) struct SpoolWriter {
    machine: Arc<dyn Machine>,
    folder: PathBuf,
    /// Maximum number of bytes that may wait.
    most: u64,
    number: u64,
    file: LogFile,
    state: watch::Sender<SpoolState>,
}

/// Takes alerts from a spool, in order.
pub(crate) struct SpoolReader {
    machine: Arc<dyn Machine>,
    folder: PathBuf,
    /// The position up to which alerts were taken.
    taken: Position,
    /// The position up to which alerts were read.
    read: Position,
    /// The number of bytes between the two.
    length: u64,
    /// Whether `taken` is in its file.
    is_saved: bool,
    state: watch::Sender<SpoolState>,
}

/// A handle that reads the size of a spool and closes it.
#[derive(Clone)]
pub(crate) struct SpoolHandle(watch::Sender<SpoolState>);

impl SpoolHandle {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.borrow().waiting
    }

    /// Closes the spool for its reader. Waiting alerts stay for the next start.
    pub(crate) fn close(&self) {
        self.0.send_modify(|state| state.is_closing = true);
    }
}

/// Opens the spool in this folder, or creates it.
pub(crate) fn open(
    machine: &Arc<dyn Machine>,
    folder: &Path,
    most: u64,
) -> io::Result<(SpoolWriter, SpoolReader, SpoolHandle, Known)> {
    let disk = machine.disk();
    disk.create_folder(folder)?;
    let numbers = numbers(disk, folder)?;
    let number = numbers.last().copied().unwrap_or(0);
    let mut known = Known::new(Repeats::Alert);
    // The ids in the previous file are needed too, because the last one may be new.
    if let Some(before) = numbers.iter().rev().nth(1) {
        LogFile::open(disk, &path(folder, *before), &mut known)?;
    }
    let mut file = LogFile::open(disk, &path(folder, number), &mut known)?;
    let first = numbers.first().copied().unwrap_or(number);
    let taken = read_taken(disk, folder)?.unwrap_or_default().max(Position { file: first, byte: 0 });
    let mut waiting = 0;
    for number in numbers.iter().filter(|number| **number >= taken.file) {
        waiting += disk.length(&path(folder, *number))?;
    }
    let end = Position { file: number, byte: file.end()? };
    // An incomplete line may have been counted.
    let taken = taken.min(end);
    let state = SpoolState { end, waiting: waiting.saturating_sub(taken.byte), is_closing: false };
    let state = watch::Sender::new(state);
    let handle = SpoolHandle(state.clone());
    let (machine, folder) = (Arc::clone(machine), folder.to_owned());
    let writer =
        SpoolWriter { machine: Arc::clone(&machine), folder: folder.clone(), most, number, file, state: state.clone() };
    let reader = SpoolReader { machine, folder, taken, read: taken, length: 0, is_saved: true, state };
    Ok((writer, reader, handle, known))
}

/// Returns whether there is a spool in this folder.
pub(crate) fn is_there(disk: &dyn Disk, folder: &Path) -> bool {
    numbers(disk, folder).is_ok_and(|numbers| !numbers.is_empty())
}

/// Returns the numbers of the files, in order.
fn numbers(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<u64>> {
    let names = disk.list(folder)?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.strip_suffix(".spool")?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.spool"))
}

fn read_taken(disk: &dyn Disk, folder: &Path) -> io::Result<Option<Position>> {
    let Some(text) = read_whole(disk, &folder.join(TAKEN))? else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    if let (Some(file), Some(byte)) = (numbers.next().flatten(), numbers.next().flatten()) {
        return Ok(Some(Position { file, byte }));
    }
    let text = format!("{TAKEN}: expected two numbers; remove the file to post everything again");
    Err(io::Error::other(text))
}

impl LogTarget for SpoolWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let length = text.len() as u64;
        let waiting = self.state.borrow().waiting;
        // Otherwise a text that is longer than the whole spool would never be accepted.
        if waiting > 0 && length > 0 && waiting + length > self.most {
            return Err(io::Error::other(format!("the spool is full: {waiting} bytes wait, of at most {}", self.most)));
        }
        if self.file.end()? >= FILE {
            let next = path(&self.folder, self.number + 1);
            self.file = LogFile::open(self.machine.disk(), &next, &mut Known::default())?;
            self.number += 1;
        }
        self.file.write(text)?;
        let end = Position { file: self.number, byte: self.file.end()? };
        self.state.send_modify(|state| {
            state.end = end;
            state.waiting += length;
        });
        Ok(())
    }

    fn check_space(&mut self, bytes: u64) -> io::Result<()> {
        let waiting = self.state.borrow().waiting;
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
    pub(crate) async fn next(&mut self, most: usize) -> io::Result<Option<Vec<String>>> {
        (self.read, self.length) = (self.taken, 0);
        let mut state = self.state.subscribe();
        let end = loop {
            let is_saved = self.is_saved;
            let wait = state.wait_for(|state| state.end > self.read || state.is_closing);
            let waited = if is_saved { Some(wait.await) } else { within(SAVE_INTERVAL, wait).await };
            match waited {
                // The sender is a part of this reader.
                Some(state) => match *state.expect("the sender is there") {
                    SpoolState { is_closing: true, .. } => return Ok(None),
                    SpoolState { end, .. } => break end,
                },
                None => drop(self.save()),
            }
        };
        let mut lines = Vec::new();
        while lines.len() < most && self.read < end {
            self.read_file(end, most, &mut lines)?;
        }
        Ok(Some(lines))
    }

    /// Reads lines of the current file, and goes on to the next file at its end.
    fn read_file(&mut self, end: Position, most: usize, lines: &mut Vec<String>) -> io::Result<()> {
        let (disk, file) = (self.machine.disk(), path(&self.folder, self.read.file));
        let length = match disk.length(&file) {
            _ if self.read.file == end.file => end.byte,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::error!("{}: is missing, with the alerts in it", file.display());
                0
            }
            Err(error) => return Err(error),
        };
        let mut chunk = CHUNK;
        while lines.len() < most && self.read.byte < length {
            let bytes = disk.read(&file, self.read.byte, chunk.min(length - self.read.byte))?;
            if bytes.is_empty() {
                // The file is shorter than it was.
                self.read.byte = length;
            }
            let Some(last) = memchr::memrchr(b'\n', &bytes) else {
                if self.read.byte + chunk >= length {
                    self.read.byte = length;
                }
                chunk *= 2;
                continue;
            };
            for line in bytes[..last].split(|byte| *byte == b'\n').take(most - lines.len()) {
                self.read.byte += line.len() as u64 + 1;
                self.length += line.len() as u64 + 1;
                lines.push(String::from_utf8_lossy(line).into_owned());
            }
        }
        if self.read.byte >= length && self.read.file < end.file {
            self.read = Position { file: self.read.file + 1, byte: 0 };
        }
        Ok(())
    }

    /// Marks the lines that were returned last as taken. They are not returned again by this process, even if the
    /// position cannot be written.
    ///
    /// # Errors
    /// The position cannot be written. It is tried again every second. If the process ends before, the next one returns
    /// the lines again.
    pub(crate) fn done(&mut self) -> io::Result<()> {
        let length = std::mem::take(&mut self.length);
        self.taken = self.read;
        self.state.send_modify(|state| state.waiting = state.waiting.saturating_sub(length));
        self.save()
    }

    /// Writes the position, and removes the files before it.
    fn save(&mut self) -> io::Result<()> {
        self.is_saved = false;
        let (disk, Position { file, byte }) = (self.machine.disk(), self.taken);
        disk.write_whole(&self.folder.join(TAKEN), format!("{file} {byte}\n").as_bytes())?;
        self.is_saved = true;
        // The last file before the position is kept for its ids.
        for number in numbers(disk, &self.folder)?.into_iter().filter(|number| number + 1 < file) {
            disk.remove(&path(&self.folder, number))?;
        }
        Ok(())
    }

    /// Waits, or until the spool is closed. Returns whether it is.
    pub(crate) async fn pause(&self, time: Duration) -> bool {
        let mut state = self.state.subscribe();
        within(time, state.wait_for(|state| state.is_closing)).await.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::RealMachine;

    async fn lines(reader: &mut SpoolReader, most: usize) -> Vec<String> {
        reader.next(most).await.expect("readable").expect("open")
    }

    #[tokio::test]
    async fn lines_are_taken_in_order_and_once_even_after_a_restart() {
        let machine: Arc<dyn Machine> = Arc::new(RealMachine::new());
        let folder = tempfile::tempdir().expect("a folder");
        let (mut writer, mut reader, waiting, _) = open(&machine, folder.path(), 1 << 30).expect("opened");
        let long = "x".repeat(1 << 20);
        for n in 0..20 {
            writer.write(format!("{n} {long}\n").as_bytes()).expect("written");
        }
        assert_eq!(waiting.bytes(), (0..20).map(|n: u64| n.to_string().len() as u64 + 2 + (1 << 20)).sum::<u64>());
        let mut seen = Vec::new();
        let number = |line: &String| line.split(' ').next().expect("a number").parse::<u64>().expect("a number");
        for _ in 0..3 {
            assert_eq!(lines(&mut reader, 3).await.len(), 3);
            seen.extend(lines(&mut reader, 3).await.iter().map(number));
            reader.done().expect("written");
        }
        drop((writer, reader));
        let (_putting, mut reader, waiting, _) = open(&machine, folder.path(), 1 << 30).expect("opened");
        while waiting.bytes() > 0 {
            seen.extend(lines(&mut reader, 4).await.iter().map(number));
            reader.done().expect("written");
        }
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
        assert_eq!(numbers(machine.disk(), folder.path()).expect("read").len(), 2, "what is done is removed");
        waiting.close();
        assert!(reader.next(1).await.expect("readable").is_none());
    }

    #[tokio::test]
    async fn the_spool_holds_at_most_its_limit() {
        let machine: Arc<dyn Machine> = Arc::new(RealMachine::new());
        let folder = tempfile::tempdir().expect("a folder");
        let (mut writer, mut reader, _, _) = open(&machine, folder.path(), 10).expect("opened");
        writer.write(b"12345678\n").expect("written");
        assert!(writer.write(b"1\n").expect_err("full").to_string().contains("the spool is full"));
        lines(&mut reader, 1).await;
        reader.done().expect("written");
        writer.write(b"1\n").expect("written");
        assert_eq!(lines(&mut reader, 5).await, ["1"]);
    }
}
