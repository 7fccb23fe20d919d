//! A document, and its position in a list.

/// Limit for a record, in bytes. A longer one is rejected, so that memory is bounded. The largest records of a
/// kube-apiserver have a few MiB.
pub const MAX_RECORD: usize = 64 << 20;

/// The byte order mark that some programs write before UTF-8. In concatenated files, it can be anywhere.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A text that is a record, or an envelope of records.
#[derive(Debug, PartialEq, Eq)]
pub struct Document<'d> {
    /// Its bytes, or the first of them if it was cut.
    pub bytes: &'d [u8],
    /// Its length in the input, in bytes. It is larger than the number of bytes if the document was cut.
    pub length: u64,
    /// The line in which it begins, counted from 1.
    pub line: u64,
    /// The byte of that line at which it begins, counted from 1. For an item on the line in which the surrounding
    /// document begins, it is the byte at which that document begins.
    pub column: u64,
    /// Its position in a list, if it is an item of one.
    pub item: Option<Item>,
}

impl Document<'_> {
    /// Returns the document without white space at its end and without a byte order mark before it.
    #[must_use]
    pub fn trimmed(&self) -> Self {
        let Self { bytes, length, line, column, item } = *self;
        let trimmed = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes).trim_ascii_end();
        Self { bytes: trimmed, length: length - (bytes.len() - trimmed.len()) as u64, line, column, item }
    }
}

/// An item of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The list's name, if the list is in an envelope.
    pub list: Option<&'static str>,
    /// The item's index, from 0.
    pub index: u64,
    /// Whether the envelope identifies its items as part of an API server's audit log, as an `EventList` does; such
    /// items do not identify themselves.
    pub of_audit_list: bool,
}
