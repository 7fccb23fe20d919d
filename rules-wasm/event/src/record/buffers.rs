//! Memory for reading records.

use crate::scan::Tokens;

/// Memory for reading one record, which is used again for the next.
#[derive(Debug, Default)]
pub struct Buffers {
    pub(crate) record: Tokens,
    /// A record that was closed because its end is missing.
    pub(crate) closed: String,
    /// The record that was made from a row of a table.
    pub(crate) row: Layer,
    pub(crate) inside: Inside,
    /// The same for the second way to close a record.
    pub(crate) again: Option<Box<Again>>,
}

#[derive(Debug, Default)]
pub(crate) struct Again {
    pub(crate) closed: String,
    pub(crate) row: Layer,
    pub(crate) inside: Inside,
}

/// A text that was made from another one, and its tokens.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) text: String,
    pub(crate) tokens: Tokens,
}

/// An audit event that is text in a record.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    /// `properties`, if that is text too.
    pub(crate) properties: Vec<u8>,
    pub(crate) text: Vec<u8>,
    pub(crate) closed: String,
    pub(crate) tokens: Tokens,
}
