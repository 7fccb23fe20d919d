//! Who wrote a record.

/// Whose names a record's fields have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Panther, which says so in `p_log_type`.
    Panther,
    /// The cloud itself.
    Cloud,
}
