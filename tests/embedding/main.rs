//! Tests of what runs the rules without this host: Node, Python, Fluent Bit, wasmCloud, pipelines of NDJSON.

mod embedders;
mod fluent_bit;
mod javascript_rule;
mod pipes;
#[expect(dead_code, unused_imports, reason = "the other test targets use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod wasmcloud;
