//! Finds the records in a document: the document itself, or those in its envelopes.

use portcullis_event::envelope::{Path, Search, behind_prefix};
use portcullis_event::{Buffers, Ignored, LogType, Outcome, Rejected, normalize_as, normalize_or_read};
use serde::de::IgnoredAny;

use super::decode::{Allowance, decode};
use super::suspect::suspect;
use super::{Document, Documents, Item, MAX_RECORD, Place};

/// Limit for nested attempts to split a broken text into several documents.
const MAX_SPLITS: usize = 4;

/// Length beyond which a text counts as long, in bytes.
const LONG: usize = 1 << 20;

/// Finds the records in documents.
#[derive(Default)]
pub struct Records {
    buffers: Buffers,
    allowance: Allowance,
}

/// A record and its place.
#[derive(Debug)]
pub struct Record<'r> {
    /// Its bytes, or the first of them if it is too long.
    pub bytes: &'r [u8],
    /// Its place in the input.
    pub place: Place<'r>,
}

/// Receives each record.
type Each<'f, E> = &'f mut dyn FnMut(&Record<'_>, Outcome<'_>) -> Result<(), E>;

impl Records {
    /// Sets the number of bytes that compressed contents of all further records may have, with each layer of their
    /// compression counted. Without it, they may have a gibibyte and a hundred times the length of the documents.
    /// Contents beyond it are rejected.
    pub fn limit_contents(&mut self, bytes: u64) {
        self.allowance = Allowance { left: bytes, ratio: 0, is_exceeded: false };
    }

    /// Returns whether contents were rejected because of [`limit_contents`](Self::limit_contents).
    #[must_use]
    pub fn is_over_limit(&self) -> bool {
        self.allowance.is_exceeded
    }

    /// Calls `each` for every record of a document, with its outcome. If the document contains no records, it is a
    /// record itself.
    ///
    /// # Errors
    /// The first error of `each`, which ends the loop.
    pub fn for_each<E>(&mut self, document: &Document<'_>, each: Each<'_, E>) -> Result<(), E> {
        let each = &mut |record: &Record<'_>, outcome: Outcome<'_>| match outcome {
            Outcome::Ignored(ignored) => each(record, Outcome::Ignored(suspect(record.bytes, ignored))),
            outcome => each(record, outcome),
        };
        let position = Place::position(document.line, document.column);
        let place = document.item.map_or(position, |item| position.item(item));
        if document.length > document.bytes.len() as u64 {
            let rejected = Rejected::TooLong { length: document.length, max: MAX_RECORD };
            return each(&Record { bytes: document.bytes, place }, Outcome::Rejected(rejected));
        }
        self.allowance.add(document.bytes.len());
        let Self { buffers, allowance } = self;
        find_records(document.bytes, place, known(document.item), MAX_SPLITS, (buffers, allowance), each)
    }
}

/// Returns the log type that a list implies for its items.
fn known(item: Option<Item>) -> Option<LogType> {
    item.filter(|item| item.of_audit_list).map(|_| LogType::Eks)
}

/// Finds the records in a text. `known` is the log type that the surrounding list implies.
fn find_records<E>(
    bytes: &[u8],
    place: Place<'_>,
    known: Option<LogType>,
    splits: usize,
    (buffers, allowance): (&mut Buffers, &mut Allowance),
    each: Each<'_, E>,
) -> Result<(), E> {
    let (outcome, is_broken): (Outcome<'static>, _) = match normalize_or_read(bytes, known, buffers) {
        Err(envelope) => {
            let found = search(place, allowance, each, |search| search.run_read(&envelope));
            if bytes.len() > LONG {
                *buffers = Buffers::default();
            }
            return if found? { Ok(()) } else { each(&Record { bytes, place }, Outcome::Ignored(Ignored::Shape)) };
        }
        Ok(Outcome::Rejected(rejected @ Rejected::NotAnObject)) => (Outcome::Rejected(rejected), false),
        Ok(Outcome::Rejected(rejected @ (Rejected::NotJson(_) | Rejected::CutOff | Rejected::NotUtf8 { .. }))) => {
            (Outcome::Rejected(rejected), true)
        }
        Ok(outcome) => return each(&Record { bytes, place }, outcome),
    };
    if bytes.len() > LONG {
        // The contents are read next, with buffers of their own.
        *buffers = Buffers::default();
    }
    if is_broken
        && splits > 0
        && let Some(documents) = split(bytes)
    {
        let mut documents = documents(bytes);
        while let Ok(Some(Document { bytes, line, column, item, .. })) = documents.next_document() {
            let around = place.offset_by(line, column);
            let place = item.map_or(around, |item| around.item(item));
            let buffers = &mut Buffers::default();
            find_records(bytes, place, self::known(item).or(known), splits - 1, (buffers, allowance), each)?;
        }
        return Ok(());
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if search(place, allowance, each, |search| search.run(text))? {
        return Ok(());
    }
    // JSON after a prefix that contains no record gets the outcome that it would have without the prefix. What begins like
    // an object is one that is broken, and no prefix.
    let may_have_prefix = is_broken && !text.trim_ascii_start().starts_with('{');
    let behind = if may_have_prefix { behind_prefix(text).filter(|json| json.len() < text.len()) } else { None };
    match behind.map(|json| normalize_as(json.as_bytes(), None, buffers)) {
        Some(Outcome::Ignored(ignored)) => each(&Record { bytes, place }, Outcome::Ignored(ignored)),
        _ => each(&Record { bytes, place }, outcome),
    }
}

/// Searches the contents of a document.
fn search<E>(
    place: Place<'_>,
    allowance: &mut Allowance,
    each: Each<'_, E>,
    run: impl FnOnce(Search<'_, E>) -> Result<bool, E>,
) -> Result<bool, E> {
    let mut decode = |text: &str, most: usize| decode(text, most, allowance);
    let mut inside = |bytes: &[u8], path: &Path<'_>, outcome: Outcome<'_>| {
        each(&Record { bytes, place: place.inside(path) }, outcome)
    };
    run(Search::new(&mut decode, MAX_RECORD, &mut inside))
}

/// A way to split a text into documents.
type Split<'b> = fn(&'b [u8]) -> Documents<&'b [u8]>;

/// Returns how to split a text that is not JSON into several documents: one after the other, or as items of a list.
/// `None` means that no part is complete JSON, so that the text is one broken record.
fn split<'b>(bytes: &'b [u8]) -> Option<Split<'b>> {
    if !bytes.trim_ascii_start().starts_with(b"{") && !bytes.trim_ascii_start().starts_with(b"[") {
        return None;
    }
    let splits = |documents: &Split<'b>| {
        let mut documents = documents(bytes);
        let (mut count, mut whole) = (0, false);
        while let Ok(Some(document)) = documents.next_document() {
            count += 1;
            whole |= is_object(document.bytes);
        }
        whole && count > 1
    };
    [Documents::concatenated as fn(_) -> _, Documents::parsed_lines].into_iter().find(splits)
}

fn is_object(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}
