//! A sink that is a file, or standard output.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Health, Sink};
use crate::sink_alert::SinkAlert;
use crate::storage::{AppendLog, Line, NotWritten};

/// A file with one alert a line.
pub(super) struct FileSink {
    pub(super) log: AppendLog,
    pub(super) ocsf: bool,
}

impl Sink for FileSink {
    fn put<'a>(&'a self, alerts: &'a [SinkAlert]) -> BoxFuture<'a, Result<(), NotWritten>> {
        let lines = alerts.iter().map(|alert| Line::Alert(alert.id, alert.text(self.ocsf))).collect();
        async move { self.log.append_in_turns(&lines, None).await }.boxed()
    }

    fn health(&self) -> Health {
        Health { refuses: self.log.problem(), ..Health::default() }
    }

    fn reopen(&self) {
        self.log.reopen();
    }
}
