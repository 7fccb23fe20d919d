//! Errors that end a service.

use std::fmt;

/// An error that keeps a service from starting or running.
#[derive(Debug)]
pub enum ServeError {
    /// A setting, token, certificate or rule is invalid.
    Setup(anyhow::Error),
    /// A file, a socket or a thread failed.
    Io(anyhow::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Setup(error) | Self::Io(error)) = self;
        write!(formatter, "{error:#}")
    }
}

impl std::error::Error for ServeError {}
