//! The search for records: from a document through objects, lists and texts, in any order.

use super::around::Around;
use super::budget::Budget;
use super::list::{Item, List};
use super::otlp;
use super::output::{Each, Output};
use super::path::Step;
use super::signs::{has_signs, items_of, may_hold_record};
use super::text::{Sequence, behind_prefix, may_be_base64, names_audit_event};
use crate::json::{Document, Value, cut};
use crate::record::{Envelope, Outcome, Rejected};
use crate::scan::Tokens;

/// What a text turned out to be that may be base64.
#[derive(Debug)]
pub enum Decoded {
    /// No base64 of JSON, of gzip or of zstd.
    Nothing,
    /// The decoded bytes, decompressed.
    Bytes(Vec<u8>),
    /// More bytes than may be decoded.
    TooLong,
}

/// Decodes a text into at most this many bytes.
pub type Decode<'f> = &'f mut dyn FnMut(&str, usize) -> Decoded;

/// A search of one document.
pub struct Search<'f, E> {
    decode: Decode<'f>,
    budget: Budget,
    output: Output<'f, E>,
}

impl<'f, E> Search<'f, E> {
    /// A search that decodes at most `most` bytes, and calls `each` with each record.
    pub fn new(decode: Decode<'f>, most: usize, each: Each<'f, E>) -> Self {
        Self { decode, budget: Budget::new(most), output: Output::new(each) }
    }

    /// Reports the records in a text that is no record itself, and returns whether there are any.
    ///
    /// # Errors
    /// The first error that `each` returns.
    pub fn run(mut self, text: &str) -> Result<bool, E> {
        self.budget.add_document(text);
        let found = self.text(text, Around::document())?;
        self.end(text, found)
    }

    /// [`run`](Self::run) for a text that is read already.
    ///
    /// # Errors
    /// The first error that `each` returns.
    pub fn run_read(mut self, envelope: &Envelope<'_>) -> Result<bool, E> {
        self.budget.add_document(envelope.text());
        let found = self.value(envelope.value(), Around::document())?;
        self.end(envelope.text(), found)
    }

    fn end(mut self, text: &str, found: bool) -> Result<bool, E> {
        if self.budget.is_exhausted() {
            self.output.tangled(text)?;
            return Ok(true);
        }
        Ok(found)
    }

    /// Searches a text that may hold JSON.
    fn text(&mut self, text: &str, around: Around<'_, E>) -> Result<bool, E> {
        if around.depth == 0 || !self.budget.may_read(text) {
            return Ok(false);
        }
        let text = text.trim_start_matches('\u{feff}').trim_ascii();
        if text.starts_with(['{', '[', '"']) {
            let found = self.json(text, around)?;
            if found || text.starts_with('{') {
                return Ok(found);
            }
        }
        if may_be_base64(text) {
            return self.base64(text, around);
        }
        if text.contains('\n') {
            let lines = text.lines().map(str::trim_ascii).filter(|line| !line.is_empty());
            return self.list(lines.map(Item::Text), around.deeper());
        }
        match behind_prefix(text) {
            Some(json) => self.json(json, around.deeper()),
            None => Ok(false),
        }
    }

    /// Searches a text that begins like JSON.
    fn json(&mut self, text: &str, around: Around<'_, E>) -> Result<bool, E> {
        if !self.budget.may_read(text) {
            return Ok(false);
        }
        if let Some(document) = Document::read(text, &mut Tokens::default()) {
            return self.value(document.value(), Around { cut: None, ..around });
        }
        if let Some(first) = Sequence::first_of_several(text) {
            // Text in square brackets may be a prefix.
            if first.starts_with('[') && Document::read(first, &mut Tokens::default()).is_none() {
                return Ok(false);
            }
            return self.list(Sequence::new(text).map(Item::Text), around);
        }
        if self.output.broken_record(text, around.known, around.place)? { Ok(true) } else { self.cut(text, around) }
    }

    /// Searches a text whose end is missing: for the records that are complete, and for the one in which the text ends.
    fn cut(&mut self, text: &str, around: Around<'_, E>) -> Result<bool, E> {
        let mut closed = String::new();
        for close in [cut::close, cut::close_string] {
            if let Some(end) = close(text, &mut closed)
                && let Some(document) = Document::read(&closed, &mut Tokens::default())
                && self.value(document.value(), Around { cut: Some(end), ..around })?
            {
                return Ok(true);
            }
        }
        if around.place.path.is_empty() || !names_audit_event(text) {
            return Ok(false);
        }
        // A record that is broken.
        if let Some(lists) = around.place.lists {
            lists.flush(&mut self.output)?;
        }
        self.output.no_record(text, around.place.path)?;
        Ok(true)
    }

    /// Searches what a text encodes.
    fn base64(&mut self, text: &str, around: Around<'_, E>) -> Result<bool, E> {
        let max = self.budget.may_decode();
        match (self.decode)(text, max) {
            Decoded::Nothing => Ok(false),
            Decoded::TooLong => {
                let too_long = Rejected::TooLong { length: max as u64 + 1, max };
                self.output.report(text, Outcome::Rejected(too_long), around.place)?;
                Ok(true)
            }
            Decoded::Bytes(bytes) => {
                self.budget.add_decoded(&bytes);
                match String::from_utf8(bytes) {
                    Ok(text) => self.text(&text, around.deeper()),
                    Err(_) => Ok(false),
                }
            }
        }
    }

    /// Searches a value. An object that is a record is reported, and never searched.
    fn value(&mut self, value: Value<'_, '_>, around: Around<'_, E>) -> Result<bool, E> {
        let may_be_record = value.is_object() && (around.known.is_some() || has_signs(value));
        if may_be_record && self.output.object_record(value, around.known, around.cut, around.place)? {
            return Ok(true);
        }
        self.inside(value, around)
    }

    /// Searches a value that is no record, as far as the depth allows.
    fn inside(&mut self, value: Value<'_, '_>, around: Around<'_, E>) -> Result<bool, E> {
        if around.depth == 0 {
            Ok(false)
        } else if let Some(string) = value.string() {
            self.text(&string.unescaped(), around.deeper())
        } else if let Some(object) = otlp::object_of(value) {
            self.json(&object, around.deeper())
        } else if value.is_list() {
            self.list(value.items().map(Item::Value), around)
        } else {
            self.members(value, around)
        }
    }

    /// Searches the members of an object.
    fn members(&mut self, value: Value<'_, '_>, around: Around<'_, E>) -> Result<bool, E> {
        let audit_list = items_of(value);
        let mut object = self.output.seen.enter();
        let mut found = false;
        for (name, value) in value.named_values().filter(|(_, value)| may_hold_record(*value)) {
            let name = name.unescaped();
            let path = around.place.path.step(Step::Member(&name));
            let known = audit_list.filter(|_| value.is_list());
            found |= self.value(value, Around { known, ..around.at(&path) })?;
            self.output.seen.next_member(&mut object);
        }
        self.output.seen.leave(object);
        Ok(found)
    }

    /// Searches the items of a list, or several values. If one of them is a record, each of the others is reported too.
    fn list<'i>(&mut self, items: impl Iterator<Item = Item<'i>> + Clone, around: Around<'_, E>) -> Result<bool, E> {
        if around.depth == 0 {
            return Ok(false);
        }
        let list = List::new(items.clone(), around.place);
        let mut found = false;
        for (index, item) in items.enumerate() {
            list.enter(index, item);
            let path = around.place.path.step(Step::Item(index as u64));
            let mut inner = Around { known: around.known, ..around.at(&path) };
            inner.place.lists = Some(&list);
            let has_record = match item {
                Item::Value(value) => self.value(value, inner)?,
                Item::Text(text) => self.text(text, inner)?,
            };
            if has_record {
                found = true;
                list.has_record();
            }
        }
        if found {
            list.finish(&mut self.output)?;
        }
        Ok(found)
    }
}
