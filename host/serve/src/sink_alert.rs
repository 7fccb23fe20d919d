//! Alerts on their way to the sinks.

use std::sync::Arc;

use crate::storage::LineId;

/// An alert in the forms that sinks take.
pub(crate) struct SinkAlert {
    pub(crate) id: LineId,
    pub(crate) tenant: usize,
    /// One line of JSON.
    pub(crate) ndjson: Arc<str>,
    /// An OCSF finding, if a sink wants one.
    pub(crate) ocsf: Option<Arc<str>>,
}

impl SinkAlert {
    /// Returns the text in the format of a sink.
    pub(crate) fn text(&self, ocsf: bool) -> Arc<str> {
        match &self.ocsf {
            Some(finding) if ocsf => Arc::clone(finding),
            _ => Arc::clone(&self.ndjson),
        }
    }
}
