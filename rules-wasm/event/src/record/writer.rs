//! The writer of a record.

/// The writer of a record, whose names its fields have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Panther, which adds `p_log_type`.
    Panther,
    /// The cloud.
    Cloud,
}
