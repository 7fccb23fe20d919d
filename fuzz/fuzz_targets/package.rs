//! Fuzz target of `harness::package`.
#![no_main]

#[path = "../harness/mod.rs"]
#[expect(unused, reason = "each target uses one harness")]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::package(data));
