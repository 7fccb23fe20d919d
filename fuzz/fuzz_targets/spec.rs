//! See `spec` in the harness.
#![no_main]

#[path = "../harness/mod.rs"]
#[expect(unused, reason = "each target runs one of the harnesses")]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::spec(data));
