//! The result of reading a value of an expected type.

/// A value of an expected type, if there is one. Null and empty text are [`Absent`](Read::Absent).
#[derive(Debug, PartialEq, Eq)]
pub enum Read<T> {
    /// A value of the expected type.
    Present(T),
    /// No value.
    Absent,
    /// A value of another type.
    Malformed,
}

impl<T> Read<T> {
    /// Returns the value, if it has the expected type.
    pub fn present(self) -> Option<T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Malformed => None,
        }
    }
}
