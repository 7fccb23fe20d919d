//! What reading a value gives.

/// What a place in a record holds, against the type that it should have. Null and empty text are
/// [`Absent`](Read::Absent).
#[derive(Debug, PartialEq, Eq)]
pub enum Read<T> {
    /// A value of the type.
    Present(T),
    /// Nothing.
    Absent,
    /// A value of another type.
    Malformed,
}

impl<T> Read<T> {
    /// The value, if there is one of the type.
    pub fn present(self) -> Option<T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Malformed => None,
        }
    }
}
