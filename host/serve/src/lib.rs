//! The service of Portcullis: records in over HTTP or out of NATS `JetStream`, alerts out to sinks.
//!
//! A batch is what one request or one message brings. `http` reads it within the memory budget. `ingest` judges it,
//! gives its alerts to the `sinks`, and writes its dead letters and its ledger lines to `storage`. The batch is
//! answered with 200 and counted in `stats` only when all of that is on the disk. Sinks take an alert once, so a batch
//! that was judged and not answered can be sent again.
//!
//! With `jetstream`, a batch is stored in a stream. `work` takes it out on any replica, and acknowledges it instead of
//! answering. `registry` takes packages and chosen versions, `observed` shows metrics and live events, and `service`
//! starts and stops everything.

mod app;
mod backoff;
mod clients;
mod error;
mod http;
mod http_client;
mod ingest;
mod jetstream;
mod machine;
mod observed;
mod registry;
mod replicas;
mod service;
pub mod settings;
mod shares;
#[cfg(test)]
mod simulation;
mod sink_alert;
mod sinks;
mod stats;
mod storage;
mod work;

pub use error::ServeError;
pub use registry::ReadPolicy;
pub use replicas::rules_of_replicas;
pub use service::{Parts, ReadSettings, run};
pub use settings::Settings;
pub use stats::Stats;
pub use storage::DataFolder;
