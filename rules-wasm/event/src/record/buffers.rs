//! The memory in which records are read.

use crate::scan::Tokens;

/// The room in which records are read, kept from one to the next.
#[derive(Debug, Default)]
pub struct Buffers {
    pub(crate) record: Tokens,
    /// A record whose end is missing, closed.
    pub(crate) closed: String,
    /// A row of a table, as the record that it was made of.
    pub(crate) row: Layer,
    pub(crate) inside: Inside,
    /// The same, for a second way to close it.
    pub(crate) again: Option<Box<Again>>,
}

#[derive(Debug, Default)]
pub(crate) struct Again {
    pub(crate) closed: String,
    pub(crate) row: Layer,
    pub(crate) inside: Inside,
}

/// A text that was made of another, and its tokens.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) text: String,
    pub(crate) tokens: Tokens,
}

/// An audit event that stands as text in a record.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    /// The members around it, where they too stand as text.
    pub(crate) properties: Vec<u8>,
    pub(crate) text: Vec<u8>,
    pub(crate) closed: String,
    pub(crate) tokens: Tokens,
}
