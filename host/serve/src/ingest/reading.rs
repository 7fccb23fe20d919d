//! Reads a batch, and decides whether it can be read.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use portcullis::event::{Event, Outcome, Rejected};
use portcullis::read::{Documents, Record, Records, decompressed_at_most, is_too_large};
use serde::de::IgnoredAny;

/// The reason why a batch is refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The batch cannot be read.
    Unreadable { place: String, reason: String },
    /// The batch is larger than a limit.
    TooLarge(String),
    /// A record's tenant has no rules. This holds only now.
    NotReady(String),
    /// A record's tenant will soon have rules.
    NotYet(String),
}

/// How many times the maximum of a batch the compressed contents of its records may have, with each layer counted.
const CONTENTS: u64 = 4;

/// The longest buffer that is kept for the next batch, in bytes.
const LONGEST_BUFFER: usize = 4 << 20;

/// Reads batches.
#[derive(Default)]
pub(crate) struct BatchReader {
    records: Records,
    buffer: Vec<u8>,
}

impl BatchReader {
    /// Calls `each` with each record of a batch of at most `most` bytes. Returns the number of documents.
    pub(crate) fn read(
        &mut self,
        body: Bytes,
        most: u64,
        each: &mut dyn FnMut(&Record<'_>, Outcome<'_>) -> Result<(), Refused>,
    ) -> Result<u64, Refused> {
        self.records.limit_contents(CONTENTS * most);
        let is_over = Arc::new(AtomicBool::new(false));
        let input = decompressed_at_most(Box::new(io::Cursor::new(body)), most).map_err(|error| refused(1, &error))?;
        let input = Bounded { input, left: most, is_over: Arc::clone(&is_over) };
        let mut documents = Documents::with_buffer(input, std::mem::take(&mut self.buffer));
        let read = self.read_documents(&mut documents, most, &is_over, each);
        self.buffer = documents.into_buffer();
        if self.buffer.len() > LONGEST_BUFFER {
            self.buffer = Vec::new();
        }
        read
    }

    fn read_documents(
        &mut self,
        documents: &mut Documents<Bounded>,
        most: u64,
        is_over: &AtomicBool,
        each: &mut dyn FnMut(&Record<'_>, Outcome<'_>) -> Result<(), Refused>,
    ) -> Result<u64, Refused> {
        let mut count = 0;
        loop {
            match documents.next_document() {
                Ok(Some(document)) if !is_over.load(Ordering::Relaxed) => {
                    count += 1;
                    self.records.for_each(&document, each)?;
                    if self.records.is_over_limit() {
                        let most = CONTENTS * most;
                        let text = format!("the compressed contents of its records have more than {most} bytes");
                        return Err(Refused::TooLarge(text));
                    }
                }
                Ok(None) if !is_over.load(Ordering::Relaxed) => return Ok(count),
                Err(error) if !is_over.load(Ordering::Relaxed) => return Err(refused(documents.line(), &error)),
                _ => return Err(Refused::TooLarge(format!("the batch has more than {most} bytes when decompressed"))),
            }
        }
    }
}

/// Returns why a batch is refused that cannot be read any further in this line.
fn refused(line: u64, error: &io::Error) -> Refused {
    if is_too_large(error) {
        return Refused::TooLarge(error.to_string());
    }
    Refused::Unreadable { place: line.to_string(), reason: error.to_string() }
}

/// A reader of bounded length.
struct Bounded {
    input: Box<dyn Read + Send>,
    left: u64,
    is_over: Arc<AtomicBool>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        let Some(left) = self.left.checked_sub(read as u64) else {
            self.is_over.store(true, Ordering::Relaxed);
            return Err(io::Error::other("too long"));
        };
        self.left = left;
        Ok(read)
    }
}

/// Decides whether a batch can be read. A broken line among readable ones is a rejected record, and is kept. A broken
/// list, or a batch of which nothing can be read, is refused, and the client must send it again.
#[derive(Default)]
pub(crate) struct Reading {
    is_read: bool,
    broken: Option<(String, String)>,
}

impl Reading {
    /// Takes note of a record.
    pub(crate) fn note(&mut self, record: &Record<'_>, outcome: &Outcome<'_>) -> Result<(), Refused> {
        let rejected = match outcome {
            Outcome::Rejected(rejected) => rejected,
            // If a list is cut off, its last item could be judged on its whole part. Here the client sends the whole
            // list again.
            Outcome::Evaluated(event) if record.place.is_inside() && is_unfinished(event, record.bytes) => {
                &Rejected::CutOff
            }
            Outcome::Evaluated(_) | Outcome::Ignored(_) => {
                self.is_read = true;
                return Ok(());
            }
        };
        let is_json = matches!(rejected, Rejected::NotAnObject | Rejected::NoAuditEvent(_));
        if !is_json && record.place.is_inside() {
            return Err(Refused::Unreadable { place: record.place.to_string(), reason: rejected.to_string() });
        }
        self.is_read |= matches!(rejected, Rejected::NoAuditEvent(_));
        self.broken.get_or_insert_with(|| (record.place.to_string(), rejected.to_string()));
        Ok(())
    }

    /// Ends the batch, which had this many documents.
    pub(crate) fn end(self, documents: u64) -> Result<(), Refused> {
        match self.broken {
            Some((place, reason)) if !self.is_read => Err(Refused::Unreadable { place, reason }),
            None if documents == 0 => {
                Err(Refused::Unreadable { place: "1".to_owned(), reason: "empty body".to_owned() })
            }
            _ => Ok(()),
        }
    }
}

/// Returns whether the record itself is cut off. A whole record can contain its event as text that is cut off.
fn is_unfinished(event: &Event<'_>, record: &[u8]) -> bool {
    event.malformed.iter().any(|path| path == Event::CUT_OFF) && serde_json::from_slice::<IgnoredAny>(record).is_err()
}
