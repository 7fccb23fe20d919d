//! A document, and which item of a list it is.

/// The longest record in bytes. A longer one is rejected, so that memory is bounded; a kube-apiserver's largest are a few MiB.
pub const MAX_RECORD: usize = 64 << 20;

/// The mark that some writers put before the first byte of a file of UTF-8. Where files were joined, it is in the middle.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A text that is a record, or an envelope of records.
#[derive(Debug, PartialEq, Eq)]
pub struct Document<'d> {
    /// Its bytes, or the first of them.
    pub bytes: &'d [u8],
    /// Its length in the input, in bytes: more than there are bytes if it was cut.
    pub length: u64,
    /// The line in which it begins, from 1.
    pub line: u64,
    /// The byte of that line at which it begins, from 1; for an item, at which the document around it does, if that is in
    /// the same line.
    pub column: u64,
    /// Which item it is, if it was one of a list.
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
    /// The list's name, if it is a member of an envelope.
    pub list: Option<&'static str>,
    /// The item's number, from 0.
    pub index: u64,
    /// Whether what is around the list says that it is of an API server's audit log, as an `EventList` does before its items: of
    /// these none says so again.
    pub of_audit_list: bool,
}
