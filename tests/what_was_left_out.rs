//! Says which tests `cargo test` leaves out because they need more than Rust, and what runs them.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

/// The beginning of the attribute of a test that is left out.
const IGNORE: &str = "#[ignore = \"needs ";

fn main() {
    // Whoever asks for tests by name, for a list, or for those that are ignored gets no more than that.
    if env::args().len() > 1 {
        return;
    }
    let mut left_out = BTreeMap::new();
    search(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests"), &mut left_out);
    println!("\nNot run, because they need more than Rust:");
    for (needed, count) in &left_out {
        println!("  {count} tests that need {needed}");
    }
    println!("To run them too: ./test, which installs what they need.\n");
}

/// Counts the tests that are left out in the sources of a folder, by what they need.
fn search(folder: &Path, left_out: &mut BTreeMap<String, usize>) {
    for entry in fs::read_dir(folder).expect("a folder of tests") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            search(&path, left_out);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let source = fs::read_to_string(&path).expect("a source file");
            let attributes = source.lines().filter_map(|line| line.trim_start().strip_prefix(IGNORE));
            for needed in attributes.filter_map(|attribute| Some(attribute.split_once(": ./test")?.0)) {
                *left_out.entry(needed.to_owned()).or_default() += 1;
            }
        }
    }
}
