//! Says which tests `cargo test` leaves out because they need more than Rust, and what runs them.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use sources::sources;

#[path = "support/sources.rs"]
mod sources;

/// The beginning of the attribute of a test that is left out.
const IGNORE: &str = "#[ignore = \"needs ";

fn main() {
    // Whoever asks for tests by name, for a list, or for those that are ignored gets no more than that.
    if env::args().len() > 1 {
        return;
    }
    let mut left_out = BTreeMap::<String, usize>::new();
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")) {
        let source = fs::read_to_string(&file).expect("a source file");
        let attributes = source.lines().filter_map(|line| line.trim_start().strip_prefix(IGNORE));
        for needed in attributes.filter_map(|attribute| Some(attribute.split_once(": ./test")?.0)) {
            *left_out.entry(needed.to_owned()).or_default() += 1;
        }
    }
    println!("\nNot run, because they need more than Rust:");
    for (needed, count) in &left_out {
        println!("  {count} tests that need {needed}");
    }
    println!("To run them too: ./test, which installs what they need.\n");
}
