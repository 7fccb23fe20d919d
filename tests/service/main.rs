//! Tests of the service. They start nats-server and chromium.

mod apiserver;
mod demo;
mod fleet;
mod jetstream;
mod kills;
mod operating;
mod page;
mod seen;
mod serve;
mod serve_config;
mod serve_limits;
mod serve_security;
mod serve_tls;
mod sinks;
mod sinks_webhook;
mod starting;
#[expect(dead_code, unused_imports, reason = "the other test targets use the rest")]
#[path = "../support/mod.rs"]
mod support;
