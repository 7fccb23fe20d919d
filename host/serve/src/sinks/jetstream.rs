//! A sink that is the stream of alerts at a NATS server.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Health, Sink};
use crate::jetstream::JetStream;
use crate::sink_alert::SinkAlert;
use crate::storage::NotWritten;

/// The stream of alerts.
pub(super) struct JetStreamSink {
    pub(super) jetstream: Arc<JetStream>,
    /// The tenants' names, which are part of an alert's subject.
    pub(super) tenants: Arc<[Arc<str>]>,
    pub(super) ocsf: bool,
}

impl Sink for JetStreamSink {
    fn put<'a>(&'a self, alerts: &'a [SinkAlert]) -> BoxFuture<'a, Result<(), NotWritten>> {
        self.jetstream.put_alerts(&self.tenants, alerts, self.ocsf).boxed()
    }

    fn health(&self) -> Health {
        Health { refuses: self.jetstream.problem(), ..Health::default() }
    }
}
