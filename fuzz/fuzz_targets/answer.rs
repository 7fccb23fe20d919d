//! Fuzz target of `harness::answer`.
#![no_main]

#[path = "../harness/mod.rs"]
#[expect(unused, reason = "each target uses one harness")]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::answer(data));
