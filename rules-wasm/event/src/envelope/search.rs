//! Records inside of whatever carries them: log shippers, queues and clouds put a record into an object, a list, a text, base64,
//! or behind a prefix, in any order. Nobody is known by name here: what is no record is searched for records.
//!
//! A record is never searched, so that what a client writes in one stays inert. What is searched costs time in proportion to
//! its length, in at most [`MAX_DEPTH`] steps.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::path::{Path, Step};
use super::{otlp, text};
use crate::event::LogType;
use crate::json::{Document, Names, Value};
use crate::record::{Buffers, Ignored, Outcome, Rejected, normalize_as};
use crate::scan::Tokens;

/// How many steps lead from a document to a record at most: each into a member, an item, or a text counts. OpenTelemetry's lists
/// of lists of lists take eight.
pub const MAX_DEPTH: usize = 16;

/// How often each byte of a document, and of what is decoded, is read at most. Texts in texts whose ends are missing could else be
/// read once more for each way to close each of them.
pub(super) const WORK: usize = 64;

/// Beyond so many bytes a text is long.
const LONG: usize = 1 << 20;

/// What a text is that may be base64.
#[derive(Debug)]
pub enum Decoded {
    /// No base64 of JSON, of gzip or of zstd.
    Nothing,
    /// What it holds, decompressed.
    Bytes(Vec<u8>),
    /// More than may be decoded.
    TooLong,
}

/// Decodes a text into at most so many bytes.
pub type Decode<'f> = &'f mut dyn FnMut(&str, usize) -> Decoded;

/// What is done with a record: its bytes, the way to it, and its outcome.
pub type Each<'f, E> = &'f mut dyn FnMut(&[u8], &Path<'_>, Outcome<'_>) -> Result<(), E>;

/// What surrounds a value.
pub(super) struct Around<'a, E> {
    pub(super) path: &'a Path<'a>,
    /// What a list says that its items are.
    pub(super) known: Option<LogType>,
    /// How many steps are left.
    pub(super) depth: usize,
    /// Of a text whose end is missing: where it was closed.
    pub(super) cut: Option<usize>,
    /// The lists around it.
    pub(super) lists: Option<&'a dyn Flush<E>>,
}

impl<E> Clone for Around<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Around<'_, E> {}

impl<'a, E> Around<'a, E> {
    /// One step further in.
    fn at(self, path: &'a Path<'a>) -> Self {
        Self { path, known: None, depth: self.depth - 1, ..self }
    }

    /// One step further in, on the same way.
    pub(super) fn deeper(self) -> Self {
        Self { depth: self.depth - 1, ..self }
    }
}

/// What was found in a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Records,
}

impl Found {
    fn or(self, other: Self) -> Self {
        if other == Self::Records { other } else { self }
    }
}

/// A search of one document.
pub struct Search<'f, E> {
    pub(super) decode: Decode<'f>,
    /// How many bytes may still be decoded.
    pub(super) left: usize,
    /// How many bytes may still be read.
    pub(super) work: usize,
    /// Whether these were too few.
    is_exhausted: bool,
    each: Each<'f, E>,
    /// Room for what may be a record.
    buffers: Buffers,
    /// What records are known by in members that stand before the one that is searched, of objects around it.
    before: BTreeSet<Vec<u8>>,
    /// Those that have been found in the member that is searched.
    found: Vec<Vec<u8>>,
}

impl<'f, E> Search<'f, E> {
    /// A search that decodes at most so many bytes, and shows what it finds.
    pub fn new(decode: Decode<'f>, most: usize, each: Each<'f, E>) -> Self {
        Self {
            decode,
            left: most,
            work: 0,
            is_exhausted: false,
            each,
            buffers: Buffers::default(),
            before: BTreeSet::new(),
            found: Vec::new(),
        }
    }

    /// Shows the records in a text that is no record itself; whether there were any.
    ///
    /// # Errors
    /// The first error of what records are shown to.
    pub fn run(mut self, text: &str) -> Result<bool, E> {
        let around = Around { path: &Path::ROOT, known: None, depth: MAX_DEPTH, cut: None, lists: None };
        self.work = WORK.saturating_mul(text.len());
        let found = self.text(text, around)?;
        if self.is_exhausted {
            (self.each)(text.as_bytes(), &Path::ROOT, Outcome::Rejected(Rejected::Tangled))?;
            return Ok(true);
        }
        Ok(found == Found::Records)
    }

    /// Whether there is time to read a text.
    pub(super) fn may_read(&mut self, text: &str) -> bool {
        match self.work.checked_sub(text.len()) {
            Some(left) => self.work = left,
            None => self.is_exhausted = true,
        }
        !self.is_exhausted
    }

    /// A value of a document.
    pub(super) fn value(&mut self, value: Value<'_, '_>, around: Around<'_, E>) -> Result<Found, E> {
        if value.is_object() { self.object(value, around) } else { self.inside(value, around) }
    }

    fn object(&mut self, object: Value<'_, '_>, around: Around<'_, E>) -> Result<Found, E> {
        if around.known.is_none() && !has_signs(object) {
            return self.inside(object, around);
        }
        let was_cut = around.cut.is_some_and(|cut| object.ends_behind(cut));
        match self.record(object.raw().get(), was_cut, around)? {
            Found::Records => Ok(Found::Records),
            Found::Nothing => self.inside(object, around),
        }
    }

    /// A text that may be one record.
    pub(super) fn record(&mut self, text: &str, was_cut: bool, around: Around<'_, E>) -> Result<Found, E> {
        let mut buffers = std::mem::take(&mut self.buffers);
        let shown = match normalize_as(text.as_bytes(), around.known, &mut buffers) {
            Outcome::Evaluated(mut event) => {
                if was_cut {
                    event.note_cut_off();
                }
                self.show(text, around, Outcome::Evaluated(event))
            }
            outcome @ (Outcome::Ignored(
                Ignored::LogType(_) | Ignored::Category(_) | Ignored::Service(_) | Ignored::Other(_),
            )
            | Outcome::Rejected(Rejected::NoAuditEvent(_))) => self.show(text, around, outcome),
            Outcome::Ignored(_) | Outcome::Rejected(_) => Ok(Found::Nothing),
        };
        self.keep(buffers, text);
        shown
    }

    /// Keeps room in which a text was read, unless that was a long one: what is in it is read next, in room of its own.
    fn keep(&mut self, buffers: Buffers, text: &str) {
        self.buffers = if text.len() < LONG { buffers } else { Buffers::default() };
    }

    /// What is no record, as far as the depth goes.
    fn inside(&mut self, value: Value<'_, '_>, around: Around<'_, E>) -> Result<Found, E> {
        if around.depth == 0 {
            Ok(Found::Nothing)
        } else if let Some(string) = value.string() {
            self.text(&string.unescaped(), around.deeper())
        } else if let Some(object) = otlp::object_of(value) {
            self.json(&object, around.deeper())
        } else if value.is_list() {
            self.list(value.items().map(Part::Value), around)
        } else {
            self.members(value, around)
        }
    }

    /// The members of an object. What one of them holds another may hold once more, as text and parsed: that is one record.
    fn members(&mut self, object: Value<'_, '_>, around: Around<'_, E>) -> Result<Found, E> {
        let audit_list = items_of(object);
        let outer = std::mem::take(&mut self.found);
        let (mut found, mut here) = (Found::Nothing, Vec::new());
        for (name, value) in object.named_values().filter(|(_, value)| may_hold(*value)) {
            let name = name.unescaped();
            let path = around.path.step(Step::Member(&name));
            let known = audit_list.filter(|_| value.is_list());
            found = found.or(self.value(value, Around { known, ..around.at(&path) })?);
            for record in std::mem::take(&mut self.found) {
                if self.before.insert(record.clone()) {
                    here.push(record);
                }
            }
        }
        for record in &here {
            self.before.remove(record);
        }
        self.found = outer;
        self.found.append(&mut here);
        Ok(found)
    }

    /// Items of a list, or values one after the other. Where there is a record among them, each of the others is counted too.
    pub(super) fn list<'p>(
        &mut self,
        items: impl Iterator<Item = Part<'p>> + Clone,
        around: Around<'_, E>,
    ) -> Result<Found, E> {
        if around.depth == 0 {
            return Ok(Found::Nothing);
        }
        let list = List::new(items.clone(), &around);
        let mut found = Found::Nothing;
        for (index, item) in items.enumerate() {
            list.current.set((index, item.is_object()));
            let path = around.path.step(Step::Item(index as u64));
            let inner = Around { known: around.known, lists: Some(&list), ..around.at(&path) };
            let inside = match item {
                Part::Value(value) => self.value(value, inner)?,
                Part::Text(text) => self.text(text, inner)?,
            };
            if inside == Found::Records {
                found = Found::Records;
                list.pass();
            }
        }
        if found == Found::Records {
            list.current.set((usize::MAX, list.of_objects.get()));
            list.flush(self)?;
        }
        Ok(found)
    }

    /// What stands among records and is none.
    fn other(&mut self, item: Part<'_>, of_objects: bool, path: &Path<'_>) -> Result<(), E> {
        match item {
            Part::Value(value) if value.is_object() => {
                if is_attribute(value) {
                    Ok(())
                } else {
                    self.nothing(item.text(), path)
                }
            }
            Part::Value(value) if value.is_list() && value.items().next().is_none() => Ok(()),
            // Of a list of texts, or of lists, some may be anything.
            _ if !of_objects => Ok(()),
            _ => self.nothing(item.text(), path),
        }
    }

    /// Shows a text that holds no record, as what it is.
    pub(super) fn nothing(&mut self, text: &str, path: &Path<'_>) -> Result<(), E> {
        let mut buffers = std::mem::take(&mut self.buffers);
        let shown = (self.each)(text.as_bytes(), path, normalize_as(text.as_bytes(), None, &mut buffers));
        self.keep(buffers, text);
        shown
    }

    /// Shows a record, unless it is one that another member of an object around it has held.
    pub(super) fn show(&mut self, record: &str, around: Around<'_, E>, outcome: Outcome<'_>) -> Result<Found, E> {
        let known_by = known_by(&outcome);
        if self.before.contains(&known_by) {
            return Ok(Found::Records);
        }
        self.found.push(known_by);
        if let Some(lists) = around.lists {
            lists.flush(self)?;
        }
        (self.each)(record.as_bytes(), around.path, outcome)?;
        Ok(Found::Records)
    }
}

/// Shows what stands before a record in the lists around it, and is none.
pub(super) trait Flush<E> {
    fn flush(&self, search: &mut Search<'_, E>) -> Result<(), E>;
}

/// A list that is searched. That what stands in it is counted is known only when a record has been found; until then it is
/// only known where it is.
struct List<'a, I, E> {
    path: &'a Path<'a>,
    outer: Option<&'a dyn Flush<E>>,
    /// The items that have not been shown, and the number of the first of them.
    waiting: RefCell<(I, usize)>,
    /// The item that is searched, and whether it is an object.
    current: Cell<(usize, bool)>,
    /// Whether a record was found in an item that is an object.
    of_objects: Cell<bool>,
}

impl<'a, 'p, I: Iterator<Item = Part<'p>>, E> List<'a, I, E> {
    fn new(items: I, around: &Around<'a, E>) -> Self {
        Self {
            path: around.path,
            outer: around.lists,
            waiting: RefCell::new((items, 0)),
            current: Cell::new((0, false)),
            of_objects: Cell::new(false),
        }
    }

    /// Passes over the item that is searched: it has been shown.
    fn pass(&self) {
        let (current, is_object) = self.current.get();
        let (items, next) = &mut *self.waiting.borrow_mut();
        while *next <= current {
            items.next();
            *next += 1;
        }
        self.of_objects.set(self.of_objects.get() || is_object);
    }
}

impl<'p, I: Iterator<Item = Part<'p>>, E> Flush<E> for List<'_, I, E> {
    fn flush(&self, search: &mut Search<'_, E>) -> Result<(), E> {
        if let Some(outer) = self.outer {
            outer.flush(search)?;
        }
        let (current, is_object) = self.current.get();
        let of_objects = self.of_objects.get() || is_object;
        let (items, next) = &mut *self.waiting.borrow_mut();
        while *next < current {
            let Some(item) = items.next() else { break };
            search.other(item, of_objects, &self.path.step(Step::Item(*next as u64)))?;
            *next += 1;
        }
        Ok(())
    }
}

/// One of several values.
#[derive(Clone, Copy)]
pub(super) enum Part<'p> {
    Value(Value<'p, 'p>),
    Text(&'p str),
}

impl<'p> Part<'p> {
    fn text(self) -> &'p str {
        match self {
            Self::Value(value) => value.raw().get(),
            Self::Text(text) => text,
        }
    }

    fn is_object(self) -> bool {
        self.text().starts_with('{')
    }
}

/// What tells a record from others in one document: an event's id, stage and times, of which a client can set the first only; or all
/// of it where it has no id.
fn known_by(outcome: &Outcome<'_>) -> Vec<u8> {
    match outcome {
        Outcome::Evaluated(event) => match &event.audit_id {
            Some(id) => {
                let others = [&event.stage, &event.event_time, &event.stage_time];
                let others = others.map(|text| text.as_deref().unwrap_or_default());
                [id, others[0], others[1], others[2]].join("\0").into_bytes()
            }
            None => event.identity(),
        },
        Outcome::Ignored(ignored) => ignored.to_string().into_bytes(),
        Outcome::Rejected(rejected) => rejected.to_string().into_bytes(),
    }
}

/// Whether an object has a member that records have: without one it is none.
fn has_signs(object: Value<'_, '_>) -> bool {
    const SIGNS: [&str; 13] = [
        "p_log_type",
        "apiVersion",
        "auditID",
        "category",
        "Category",
        "properties",
        "protoPayload",
        "protopayload_auditlog",
        "proto_payload",
        "AuditId",
        "Type",
        "eventSource",
        "involvedObject",
    ];
    object.named(&const { Names::new(SIGNS) }).is_some_and(|members| members.iter().any(Option::is_some))
}

/// What the items of an object's lists are, if it says that it is of an API server's audit log.
fn items_of(object: Value<'_, '_>) -> Option<LogType> {
    let [version] = object.named(&const { Names::new(["apiVersion"]) })?;
    let version = version?.string()?.unescaped();
    version.starts_with("audit.k8s.io/").then_some(LogType::Eks)
}

/// The JSON in a text behind a prefix, as far as the text goes.
#[must_use]
pub fn behind_prefix(text: &str) -> Option<&str> {
    text::json_in(text)
}

/// Whether an object says that it is of an API server's audit log, as the `EventList` of the audit webhook does: each item of its
/// lists is an audit event.
#[must_use]
pub fn is_audit_list(object: &str) -> bool {
    let mut tokens = Tokens::default();
    Document::read(object, &mut tokens).is_some_and(|document| items_of(document.value()).is_some())
}

/// Whether a value is an object, a list, or a text that is long enough to hold a record.
fn may_hold(value: Value<'_, '_>) -> bool {
    value.is_object() || value.is_list() || value.string().is_some_and(|string| string.text.len() >= 2)
}

/// Whether an object says what one thing is called and what its value is, as a row of a query's result is a list of such.
fn is_attribute(object: Value<'_, '_>) -> bool {
    let [value] = object.named(&const { Names::new(["value"]) }).unwrap_or_default();
    value.is_some() && object.named_values().count() <= 2
}
