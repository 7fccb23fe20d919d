//! A file of whole lines, of which the last ones are known.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::recent::{AlertId, Recent};

/// So far from its end a file is read when it is opened, for the ids of the alerts in it.
const TAIL: u64 = 16 << 20;

/// Where lines come to be.
pub(crate) trait LogTarget: Send {
    /// Writes all of a text, to the disk if there is one, or leaves everything as it was.
    fn write(&mut self, text: &[u8]) -> io::Result<()>;

    /// Whether so many bytes could be written now, as far as that can be told without writing.
    fn look(&mut self, bytes: u64) -> io::Result<()>;

    /// Opens what is under its name anew.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is known of the lines that are there.
#[derive(Default)]
pub(crate) struct Past {
    /// The number of the next line.
    pub(crate) next: u64,
    /// The alerts among the last of them.
    pub(crate) recent: Recent,
}

/// A file of whole lines.
pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// Behind its last whole line.
    pub(crate) end: u64,
}

impl LogFile {
    /// Opens or makes it, takes away a last line that is not whole, and adds what is in it to what is past.
    pub(crate) fn open(path: &Path, past: &mut Past) -> io::Result<Self> {
        let mut file = open(path)?;
        let end = look_back(&mut file, past)?;
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        Ok(Self { path: path.to_owned(), file, end })
    }
}

impl LogTarget for LogFile {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(text).and_then(|()| self.file.sync_data());
        if written.is_ok() {
            self.end += text.len() as u64;
        } else {
            let end = self.end;
            let back = self.file.set_len(end).and_then(|()| self.file.seek(SeekFrom::Start(end)));
            if let Err(error) = back {
                tracing::error!("{}: what was not written whole cannot be taken away: {error}", self.path.display());
            }
        }
        written
    }

    fn look(&mut self, bytes: u64) -> io::Result<()> {
        self.file.sync_data()?;
        let disk = rustix::fs::fstatvfs(&self.file)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        let mut opened = open(&self.path)?;
        self.end = opened.seek(SeekFrom::End(0))?;
        self.file = opened;
        Ok(())
    }
}

/// Opens a file, whose name is then on the disk too.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

/// Where the last whole line of a file ends. What stands in its end is added to what is past.
fn look_back(file: &mut File, past: &mut Past) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let Some(end) = memchr::memrchr(b'\n', &tail) else {
        let wrong = || io::Error::other("its last line is longer than any that is written here");
        return if from == 0 { Ok(0) } else { Err(wrong()) };
    };
    // What the tail begins with may be the rest of a line, which is then no JSON.
    for line in tail[..end].split(|byte| *byte == b'\n') {
        // A spool has the time before each.
        let line = memchr::memchr(b'{', line).map_or(line, |start| &line[start..]);
        let Ok(line) = serde_json::from_slice::<Value>(line) else { continue };
        if let Some(id) = AlertId::in_json(&line) {
            past.recent.add(id);
        }
        if let Some(n) = line["n"].as_u64() {
            past.next = n + 1;
        }
    }
    Ok(from + end as u64 + 1)
}
