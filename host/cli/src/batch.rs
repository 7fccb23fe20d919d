//! Batches of documents from the inputs.

use std::cell::RefCell;
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use portcullis::read::{Document, Documents, Item};
use portcullis::rule_set::{RuleSetWatch, RuleSets};

use crate::failure::{Exit, Failure};
use crate::input::Input;
use crate::progress::Progress;
use crate::stop::Stop;

/// Number of bytes at which a batch is handed over.
const BYTES: usize = 256 << 10;

/// Number of documents at which a batch is handed over.
const DOCUMENTS: usize = 1024;

/// Consecutive documents of one input.
pub(crate) struct Batch {
    /// The batch's number, from 0.
    pub(crate) number: u64,
    /// The input of its documents.
    pub(crate) source: Arc<Source>,
    /// The rules to judge it with.
    pub(crate) rules: RuleSets,
    /// Whether its documents are lines, which are written again with their alerts.
    pub(crate) lines: bool,
    kept: Kept,
    pool: Pool,
}

/// The input of a batch, as reports name it.
pub(crate) struct Source {
    /// The position among all inputs, because two inputs can have one name.
    pub(crate) number: usize,
    pub(crate) name: String,
    /// Whether it is a regular file, which has an end.
    pub(crate) ends: bool,
}

/// The documents of a batch.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    documents: Vec<KeptDocument>,
}

/// Buffers of judged batches, for reuse.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<Kept>>>);

impl Pool {
    fn take(&self) -> Kept {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        kept.bytes.clear();
        kept.documents.clear();
        kept
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        // The memory of a very long document is freed.
        if kept.bytes.capacity() <= 4 * BYTES {
            self.pool.0.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        }
    }
}

/// A document of a batch, without its bytes.
struct KeptDocument {
    end: usize,
    length: u64,
    line: u64,
    column: u64,
    item: Option<Item>,
}

impl Batch {
    fn new(number: u64, source: Arc<Source>, lines: bool, pool: Pool) -> Self {
        Self { number, source, rules: Arc::default(), lines, kept: pool.take(), pool }
    }

    fn push(&mut self, document: &Document<'_>) {
        let Document { bytes, length, line, column, item } = *document;
        let Kept { bytes: all, documents } = &mut self.kept;
        all.extend_from_slice(bytes);
        documents.push(KeptDocument { end: all.len(), length, line, column, item });
    }

    /// Returns its documents.
    pub(crate) fn documents(&self) -> impl Iterator<Item = Document<'_>> {
        let mut start = 0;
        self.kept.documents.iter().map(move |KeptDocument { end, length, line, column, item }| {
            let bytes = &self.kept.bytes[std::mem::replace(&mut start, *end)..*end];
            Document { bytes, length: *length, line: *line, column: *column, item: *item }
        })
    }

    /// Returns the number of its bytes.
    pub(crate) fn size(&self) -> usize {
        self.kept.bytes.len()
    }

    fn is_full(&self) -> bool {
        self.kept.bytes.len() >= BYTES || self.kept.documents.len() >= DOCUMENTS
    }
}

/// Fills batches and hands them over.
struct Filling<'h> {
    batch: Batch,
    rules: RuleSetWatch,
    hand_over: &'h mut dyn FnMut(Batch),
}

impl Filling<'_> {
    fn flush(&mut self) {
        if self.batch.kept.documents.is_empty() {
            return;
        }
        self.batch.rules = self.rules.current();
        let Batch { number, source, lines, pool, .. } = &self.batch;
        let next = Batch::new(number + 1, Arc::clone(source), *lines, pool.clone());
        (self.hand_over)(std::mem::replace(&mut self.batch, next));
    }
}

/// An input that hands over all documents that were read before it reads on, because more input may take long to come.
struct Flushing<'f, 'h, R> {
    input: R,
    filling: Rc<RefCell<&'f mut Filling<'h>>>,
}

impl<R: Read> Read for Flushing<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.filling.borrow_mut().flush();
        self.input.read(buffer)
    }
}

/// Hands over the documents of all inputs. On a stop, it reads no more and hands over what it has read. If an input
/// cannot be read to its end, the next one is read. With `lines`, each line is a document, whatever it contains.
///
/// # Errors
/// An input could not be read to its end. The error is that of the last such input; earlier ones were reported.
pub(crate) fn read(
    inputs: &[Input],
    rules: RuleSetWatch,
    progress: &Progress,
    stop: &Arc<Stop>,
    lines: bool,
    hand_over: &mut dyn FnMut(Batch),
) -> Result<(), Failure> {
    let source = |number: usize, input: &Input| Arc::new(Source { number, name: input.name(), ends: input.stays() });
    let Some(first) = inputs.first() else { return Ok(()) };
    let mut filling = Filling { batch: Batch::new(0, source(0, first), lines, Pool::default()), rules, hand_over };
    let mut unreadable = Ok(());
    for (number, input) in inputs.iter().enumerate() {
        filling.batch.source = source(number, input);
        let result = read_one(input, progress, stop, &mut filling);
        filling.flush();
        if stop.is_set() {
            break;
        }
        if let Err(failure) = result
            && let Err(earlier) = std::mem::replace(&mut unreadable, Err(failure))
        {
            progress.aside(|| earlier.report());
        }
    }
    unreadable
}

fn read_one(input: &Input, progress: &Progress, stop: &Arc<Stop>, filling: &mut Filling<'_>) -> Result<(), Failure> {
    let source = Arc::clone(&filling.batch.source);
    let bytes = input.open(stop, |file| progress.reading(file))?;
    let lines = filling.batch.lines;
    let filling = Rc::new(RefCell::new(filling));
    let bytes = Flushing { input: bytes, filling: Rc::clone(&filling) };
    let mut documents = if lines { Documents::lines(bytes) } else { Documents::new(bytes) };
    // On a stop, what was read from a pipe must be judged, because it is nowhere else. A file can be read again, and a
    // record that is only half read is not broken.
    while !(source.ends && stop.is_set()) {
        match documents.next_document() {
            Ok(Some(document)) => {
                let mut filling = filling.borrow_mut();
                filling.batch.push(&document);
                if filling.batch.is_full() {
                    filling.flush();
                }
            }
            Ok(None) => break,
            Err(error) => {
                let line = documents.line();
                let error = anyhow!(error).context(format!("{}:{line}: cannot be read further", source.name));
                return Err(Failure::new(Exit::Io, error));
            }
        }
    }
    Ok(())
}
