//! Tests of the command and the library that need nothing but Rust.

mod accounting;
mod activation;
mod annotated;
mod authoring;
mod cache;
mod cases;
mod detector;
mod docs;
mod ending;
mod enrichment;
mod envelope_search;
mod envelopes;
mod exclusions;
mod explain;
mod fuzzing;
mod gate;
mod hostile;
mod house;
mod incidents;
mod limits;
mod manual;
mod mmdb;
mod ocsf;
mod packages;
mod parity;
mod reading;
mod reproducible;
mod roll_back;
mod run;
mod seen;
mod shadow;
mod signatures;
#[expect(dead_code, reason = "the other test targets use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod swap;
mod tenants;
mod terminal;
mod test_cases;
mod threads;
mod watch;
