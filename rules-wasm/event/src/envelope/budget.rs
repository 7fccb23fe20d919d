//! The limits on what one search reads and decodes.

/// How many times each byte of a document, and of decoded text, may be read. Without this limit, texts in texts whose
/// ends are missing would be read once more for each way to close each of them.
const READS_PER_BYTE: usize = 64;

/// The remaining limits of a search.
pub(super) struct Budget {
    /// Number of bytes that may still be read.
    read: usize,
    /// Number of bytes that may still be decoded.
    decode: usize,
    /// Whether the search had to stop because too few bytes were left to read.
    is_exhausted: bool,
}

impl Budget {
    /// The limits of a search that may decode this many bytes.
    pub(super) fn new(decode: usize) -> Self {
        Self { read: 0, decode, is_exhausted: false }
    }

    /// Adds what may be read of a document.
    pub(super) fn add_document(&mut self, document: &str) {
        self.read = READS_PER_BYTE.saturating_mul(document.len());
    }

    /// Counts bytes that were decoded, and adds what may be read of them.
    pub(super) fn add_decoded(&mut self, bytes: &[u8]) {
        self.decode = self.decode.saturating_sub(bytes.len());
        self.read = self.read.saturating_add(READS_PER_BYTE * bytes.len());
    }

    /// Counts a text that is about to be read, and returns whether it may be.
    pub(super) fn may_read(&mut self, text: &str) -> bool {
        match self.read.checked_sub(text.len()) {
            Some(left) => self.read = left,
            None => self.is_exhausted = true,
        }
        !self.is_exhausted
    }

    /// Number of bytes that may still be decoded.
    pub(super) fn may_decode(&self) -> usize {
        self.decode
    }

    /// Whether a text was not read because too few bytes were left.
    pub(super) fn is_exhausted(&self) -> bool {
        self.is_exhausted
    }
}
