//! Errors that end a service.

use std::fmt;

/// Why a service could not start or go on.
#[derive(Debug)]
pub enum ServeError {
    /// A setting, a token, a certificate or a rule is wrong.
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
