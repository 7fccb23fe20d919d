//! Files of whole lines.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::recent::{AlertId, Recent};

/// The bytes at the end of a file that are read when it is opened, for the ids of alerts.
const TAIL: u64 = 16 << 20;

/// A target of lines: a file, a spool or standard output.
pub(crate) trait LogTarget: Send {
    /// Writes a text, to the disk if there is one, or leaves everything as it was.
    fn write(&mut self, text: &[u8]) -> io::Result<()>;

    /// Checks whether this many bytes could be written now, without writing them.
    fn check_space(&mut self, bytes: u64) -> io::Result<()>;

    /// Opens the file of its name again.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is known of earlier lines.
#[derive(Default)]
pub(crate) struct Past {
    /// The number of the next line.
    pub(crate) next: u64,
    /// The ids of the last alerts.
    pub(crate) recent: Recent,
}

/// A file of whole lines.
pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// The end of its last whole line.
    pub(crate) end: u64,
}

impl LogFile {
    /// Opens or creates a file, removes an incomplete last line, and adds its lines to `past`.
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
                tracing::error!("{}: an incomplete line cannot be removed: {error}", self.path.display());
            }
        }
        written
    }

    fn check_space(&mut self, bytes: u64) -> io::Result<()> {
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

/// Opens or creates a file, and syncs its folder, so that its name is on the disk.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

/// Returns the end of the last whole line, and adds the lines at the end of the file to `past`.
fn look_back(file: &mut File, past: &mut Past) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let Some(end) = memchr::memrchr(b'\n', &tail) else {
        let too_long = || io::Error::other("the last line is too long");
        return if from == 0 { Ok(0) } else { Err(too_long()) };
    };
    // The first line may be incomplete, and is then not JSON.
    for line in tail[..end].split(|byte| *byte == b'\n') {
        // In a spool, each line begins with a time.
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
