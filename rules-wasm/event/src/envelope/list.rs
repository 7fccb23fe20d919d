//! Lists in which some values are records. Once one is found, each other item is reported too, in order.

use std::cell::{Cell, RefCell};

use super::output::{Flush, Output, Place};
use super::path::Step;
use super::signs::is_attribute;
use crate::json::Value;

/// An item of a list, or one of several values in one text.
#[derive(Clone, Copy)]
pub(super) enum Item<'i> {
    /// An item of a JSON list.
    Value(Value<'i, 'i>),
    /// A line, or one of several values that follow each other.
    Text(&'i str),
}

impl<'i> Item<'i> {
    fn text(self) -> &'i str {
        match self {
            Self::Value(value) => value.raw().get(),
            Self::Text(text) => text,
        }
    }

    fn is_object(self) -> bool {
        self.text().starts_with('{')
    }
}

/// A list that is being searched. Until a record is found in it, the list only keeps its place; nothing is reported.
pub(super) struct List<'a, I, E> {
    place: Place<'a, E>,
    /// The items that were not reported yet, and the index of the first of them.
    waiting: RefCell<(I, usize)>,
    /// The index of the item that is being searched, and whether it is an object.
    current: Cell<(usize, bool)>,
    /// Whether a record was found in an item that is an object.
    of_objects: Cell<bool>,
}

impl<'a, 'i, I: Iterator<Item = Item<'i>>, E> List<'a, I, E> {
    pub(super) fn new(items: I, place: Place<'a, E>) -> Self {
        Self { place, waiting: RefCell::new((items, 0)), current: Cell::new((0, false)), of_objects: Cell::new(false) }
    }

    /// Starts with an item.
    pub(super) fn enter(&self, index: usize, item: Item<'_>) {
        self.current.set((index, item.is_object()));
    }

    /// Skips the current item when the list is flushed: a record was found in it.
    pub(super) fn has_record(&self) {
        let (current, is_object) = self.current.get();
        let (items, next) = &mut *self.waiting.borrow_mut();
        while *next <= current {
            items.next();
            *next += 1;
        }
        self.of_objects.set(self.of_objects.get() || is_object);
    }

    /// Reports the items after the last record.
    pub(super) fn finish(&self, output: &mut Output<'_, E>) -> Result<(), E> {
        self.current.set((usize::MAX, self.of_objects.get()));
        self.flush(output)
    }
}

impl<'i, I: Iterator<Item = Item<'i>>, E> Flush<E> for List<'_, I, E> {
    fn flush(&self, output: &mut Output<'_, E>) -> Result<(), E> {
        if let Some(outer) = self.place.lists {
            outer.flush(output)?;
        }
        let (current, is_object) = self.current.get();
        let of_objects = self.of_objects.get() || is_object;
        let (items, next) = &mut *self.waiting.borrow_mut();
        while *next < current {
            let Some(item) = items.next() else { break };
            if counts(item, of_objects) {
                output.no_record(item.text(), &self.place.path.step(Step::Item(*next as u64)))?;
            }
            *next += 1;
        }
        Ok(())
    }
}

/// Whether an item that is no record is reported. `of_objects` says whether the records of the list are objects.
fn counts(item: Item<'_>, of_objects: bool) -> bool {
    match item {
        Item::Value(value) if value.is_object() => !is_attribute(value),
        Item::Value(value) if value.is_list() && value.items().next().is_none() => false,
        // If the records are texts or lists, the other items may be anything.
        _ => of_objects,
    }
}
